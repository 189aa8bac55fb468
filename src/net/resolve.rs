//! Names looked up: every address behind one, in the system's order.
//!
//! A lookup blocks a thread of the runtime's own pool, never the one that asks. It has no time-out: a name server that hangs
//! keeps that thread busy whether or not anybody still waits, so whoever asks again waits for the last answer first.

use std::io;

use crate::base::address::{EndpointAddress, Host, Site};

/// So many addresses of one name are kept.
pub const MAX_ADDRESSES: usize = 16;

/// Where an endpoint's address leads, to at least one place; at once if it has no name.
///
/// # Errors
/// If the name does not resolve.
pub async fn look_up(address: &EndpointAddress) -> io::Result<Vec<Site>> {
    if let Some(site) = address.site() {
        return Ok(vec![site]);
    }
    let Host::Name(name) = address.host() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let found: Vec<Site> =
        tokio::net::lookup_host((&**name, address.port())).await?.take(MAX_ADDRESSES).map(Site::from).collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::runtime::thread::block_on;

    #[test]
    fn an_address_is_its_own_answer_and_a_name_keeps_its_port() {
        block_on(async {
            let look_up = |text: &str| EndpointAddress::parse(text).unwrap();
            let literal = super::look_up(&look_up("[::1]:7")).await.unwrap();
            assert_eq!(literal, ["[::1]:7".parse::<SocketAddr>().unwrap().into()]);
            let named = super::look_up(&look_up("localhost:7")).await.unwrap();
            assert!(
                named.iter().filter_map(Site::ip).all(|address| address.port() == 7 && address.ip().is_loopback()),
                "{named:?}"
            );
        })
        .unwrap();
    }
}
