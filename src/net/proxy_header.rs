//! What a proxy in front says of who connects, before anything else, and what we say ourselves to those behind us: the PROXY
//! protocol, versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt).
//!
//! What comes is looked at without being taken until it is whole, so that not one byte of what follows is taken with it.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use ppp::{PartialResult, v1, v2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::model::ProxyVersion;
use crate::net::dial::DialError;
use crate::net::socket::Socket;

/// Longest header, in bytes: version 2 has room for extensions, and this is room for several of them.
const MOST: usize = 4096;
/// Longest header of version 1, its line end included.
const MOST_V1: usize = 107;
/// Between two looks at a header that comes in pieces.
const PAUSE: Duration = Duration::from_millis(5);

/// For whom we speak to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// For ourselves.
    Ourselves,
    /// For a client; without addresses if it has come in by a socket in the file system.
    Client(Option<Ends>),
}

/// Both ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who has connected.
    pub client: SocketAddr,
    /// The address of ours that it has connected to.
    pub ours: SocketAddr,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// So many bytes of header; the address is that of who connects, or the proxy speaks for itself.
    Whole(usize, Option<SocketAddr>),
    /// There must be more.
    Part,
    /// It is none.
    Wrong,
}

/// Takes the header off a stream. `None`: the proxy speaks for itself, or does not know who connects.
///
/// # Errors
/// If what comes is no header, or the stream ends. It has no time-out of its own.
pub async fn take(stream: &mut Socket) -> io::Result<Option<SocketAddr>> {
    let mut seen = vec![0; MOST];
    let mut known = 0;
    loop {
        let length = stream.peek(&mut seen).await?;
        match read(&seen[..length]) {
            Said::Whole(length, source) => {
                stream.read_exact(&mut seen[..length]).await?;
                return Ok(source);
            }
            Said::Part if length > 0 && length < MOST => {
                if length == known {
                    // What is there stays there, so the stream is readable all the while.
                    tokio::time::sleep(PAUSE).await;
                }
                known = length;
            }
            Said::Part | Said::Wrong => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol"));
            }
        }
    }
}

/// Begins a connection to an endpoint with a header.
///
/// # Errors
/// If it cannot be written. It has no time-out of its own.
pub async fn send(stream: &mut Socket, version: ProxyVersion, speaker: Speaker) -> Result<(), DialError> {
    stream.write_all(&header(version, speaker)).await.map_err(DialError::Other)
}

fn header(version: ProxyVersion, speaker: Speaker) -> Vec<u8> {
    let (command, ends) = match speaker {
        Speaker::Ourselves => (v2::Command::Local, None),
        Speaker::Client(ends) => (v2::Command::Proxy, ends.map(|ends| one_family(ends.client, ends.ours))),
    };
    match version {
        ProxyVersion::V1 => ends.map_or(v1::Addresses::Unknown, v1::Addresses::from).to_string().into_bytes(),
        ProxyVersion::V2 => {
            let builder = match ends {
                Some(ends) => v2::Builder::with_addresses(v2::Version::Two | command, v2::Protocol::Stream, ends),
                None => {
                    let nothing = v2::AddressFamily::Unspecified | v2::Protocol::Unspecified;
                    v2::Builder::new(v2::Version::Two | command, nothing)
                }
            };
            builder.build().expect("two addresses are shorter than 64 KiB")
        }
    }
}

/// Both addresses as those of one family: a header has room for no other pair. They differ where a proxy in front has told of
/// a client that came to it by the other one.
fn one_family(client: SocketAddr, ours: SocketAddr) -> (SocketAddr, SocketAddr) {
    match (client.ip().to_canonical(), ours.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            (SocketAddrV4::new(from, client.port()).into(), SocketAddrV4::new(to, ours.port()).into())
        }
        (from, to) => (as_v6(from, client.port()), as_v6(to, ours.port())),
    }
}

fn as_v6(ip: IpAddr, port: u16) -> SocketAddr {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, port, 0, 0).into()
}

fn read(bytes: &[u8]) -> Said {
    let mark = b"PROXY ";
    if bytes.starts_with(&mark[..mark.len().min(bytes.len())]) { read_v1(bytes) } else { read_v2(bytes) }
}

fn read_v1(bytes: &[u8]) -> Said {
    let Some(end) = bytes.windows(2).take(MOST_V1 - 1).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MOST_V1 { Said::Part } else { Said::Wrong };
    };
    let length = end + 2;
    match v1::Header::try_from(&bytes[..length]).map(|header| header.addresses) {
        Ok(v1::Addresses::Tcp4(ip)) => Said::Whole(length, Some(SocketAddr::new(ip.source_address.into(), ip.source_port))),
        Ok(v1::Addresses::Tcp6(ip)) => Said::Whole(length, Some(SocketAddr::new(ip.source_address.into(), ip.source_port))),
        Ok(v1::Addresses::Unknown) => Said::Whole(length, None),
        Err(_) => Said::Wrong,
    }
}

fn read_v2(bytes: &[u8]) -> Said {
    match v2::Header::try_from(bytes) {
        Ok(header) => {
            // Only of a stream can an address be that of this connection's client.
            let told = header.command == v2::Command::Proxy && header.protocol == v2::Protocol::Stream;
            let source = match &header.addresses {
                v2::Addresses::IPv4(ip) if told => Some(SocketAddr::new(ip.source_address.into(), ip.source_port)),
                v2::Addresses::IPv6(ip) if told => Some(SocketAddr::new(ip.source_address.into(), ip.source_port)),
                _ => None,
            };
            Said::Whole(header.header.len(), source)
        }
        Err(error) if error.is_incomplete() => Said::Part,
        Err(_) => Said::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_read_to_their_end_and_no_further() {
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let v2 = |command: u8, family: u8, rest: &[u8]| {
            let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
            header.extend([command, family, 0, u8::try_from(rest.len()).unwrap()]);
            header.extend(rest);
            header
        };
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
        let mut six = [0; 36];
        (six[15], six[33]) = (1, 9);
        for (header, wanted) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n".to_vec(), address("192.0.2.7:12345")),
            (b"PROXY TCP6 2001:db8::1 ::1 9 80\r\n".to_vec(), address("[2001:db8::1]:9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(0x21, 0x11, &four), address("192.0.2.7:12345")),
            (v2(0x21, 0x21, &six), address("[::1]:9")),
            (v2(0x20, 0x00, &[]), None),
            // What follows the addresses, such as the name that a client asked for, is passed over.
            (v2(0x21, 0x11, &[&four[..], &[2, 0, 6], b"a.test", &[0xe0, 0, 0]].concat()), address("192.0.2.7:12345")),
            (v2(0x21, 0x21, &[&six[..], &[4, 0, 1, 0]].concat()), address("[::1]:9")),
            // The proxy speaks for itself, whatever addresses it names.
            (v2(0x20, 0x11, &four), None),
            (v2(0x20, 0x00, &[4, 0, 1, 0]), None),
            // A datagram, a path, and what is of no kind, are no client's address.
            (v2(0x21, 0x12, &four), None),
            (v2(0x21, 0x22, &six), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x21, 0x00, &four), None),
        ] {
            let mut all = header.clone();
            all.extend(b"GET / HTTP/1.1\r\n\xff");
            assert_eq!(read(&all), Said::Whole(header.len(), wanted), "{header:?}");
            for cut in 0..header.len() {
                assert_eq!(read(&header[..cut]), Said::Part, "{cut} of {header:?}");
            }
        }
    }

    #[test]
    fn headers_are_written_as_they_are_read() {
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        let v2 = |rest: &[u8]| [signature, rest].concat();
        let six = |ips: [[u8; 16]; 2], ports: [u8; 4]| v2(&[&[0x21, 0x21, 0, 36][..], &ips[0], &ips[1], &ports].concat());
        let doc = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let one = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        for (client, ours, text, bytes) in [
            (
                "192.0.2.7:12345",
                "10.0.0.1:80",
                "PROXY TCP4 192.0.2.7 10.0.0.1 12345 80\r\n",
                v2(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80]),
            ),
            (
                "[::ffff:192.0.2.7]:9",
                "[::ffff:10.0.0.1]:80",
                "PROXY TCP4 192.0.2.7 10.0.0.1 9 80\r\n",
                v2(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0, 9, 0, 80]),
            ),
            ("[2001:db8::7]:9", "[::1]:80", "PROXY TCP6 2001:db8::7 ::1 9 80\r\n", six([doc, one], [0, 9, 0, 80])),
            (
                "[2001:db8::7]:9",
                "10.0.0.1:80",
                "PROXY TCP6 2001:db8::7 ::ffff:10.0.0.1 9 80\r\n",
                six([doc, mapped], [0, 9, 0, 80]),
            ),
        ] {
            let ends = Ends { client: client.parse().unwrap(), ours: ours.parse().unwrap() };
            let source = Some(SocketAddr::new(ends.client.ip().to_canonical(), ends.client.port()));
            for (version, wanted) in [(ProxyVersion::V1, text.as_bytes().to_vec()), (ProxyVersion::V2, bytes)] {
                let header = header(version, Speaker::Client(Some(ends)));
                assert_eq!(header, wanted, "{ends:?}");
                assert_eq!(read(&header), Said::Whole(header.len(), source));
            }
        }
        for speaker in [Speaker::Ourselves, Speaker::Client(None)] {
            assert_eq!(header(ProxyVersion::V1, speaker), b"PROXY UNKNOWN\r\n");
        }
        assert_eq!(header(ProxyVersion::V2, Speaker::Ourselves), v2(&[0x20, 0, 0, 0]));
        assert_eq!(header(ProxyVersion::V2, Speaker::Client(None)), v2(&[0x21, 0, 0, 0]));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for wrong in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 300.0.0.1 10.0.0.1 1 80\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 70000\r\n".to_vec(),
            b"PROXY X\r\n".to_vec(),
            [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0".to_vec(),
            // Shorter than addresses of its family are; a command and a family that nobody knows.
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x01\x02\x03\x04".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0".to_vec(),
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
        ] {
            assert_eq!(read(&wrong), Said::Wrong, "{wrong:?}");
        }
    }

    proptest! {
        /// Whatever comes is read, waited for or refused, and no header is longer than what has come.
        #[test]
        fn no_bytes_break_the_reader(begin in 0_usize..4, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            let begins: [&[u8]; 4] = [b"", b"PROXY TCP4 1.2.3.4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"];
            let bytes = [begins[begin], &rest].concat();
            if let Said::Whole(length, _) = read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
