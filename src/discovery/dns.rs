//! Endpoints behind a name: A and AAAA records with a port, or SRV records, which have ports of their own.
//!
//! The system's own lookup tells no times and no ports, so this asks the name servers itself. Addresses of both kinds are
//! asked for, and where only one kind is answered, the last ones of the other stay: a lost answer must not look like
//! endpoints that left, and some name servers never answer for one of them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::base::address::EndpointAddress;
use crate::config::model::{DnsName, Endpoint};
use crate::discovery::Teller;

/// How long an answer counts, whatever it says itself: not asked again in the same second, and at least once an hour.
const LIFE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// From a failure to the next question.
const AGAIN: Duration = Duration::from_secs(2);
/// For one question to one name server.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest weight of an endpoint; those of SRV records are scaled to fit.
const MAX_WEIGHT: u32 = 1000;

/// Asks for ever.
pub(super) async fn watch(name: DnsName, mut teller: Teller) {
    let (mut resolver, mut known) = (None, Known::new());
    loop {
        let asked = match resolver.take().map_or_else(|| resolver_of(name.nameserver), Ok) {
            Ok(asked) => asked,
            Err(why) => {
                teller.tell(Err(why)).await;
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let brought = look_up(&asked, &name, &mut known).await;
        let life = brought.as_ref().map_or(AGAIN, |(_, life)| *life);
        let told = teller.tell(brought.map(|(endpoints, _)| endpoints)).await;
        // After a failure the system's settings are read anew: they may be why.
        resolver = told.then_some(asked);
        tokio::time::sleep(if told { life.clamp(LIFE.0, LIFE.1) } else { AGAIN }).await;
    }
}

/// A resolver that asks this name server, or those of the system.
fn resolver_of(nameserver: Option<SocketAddr>) -> Result<TokioResolver, String> {
    let builder = match nameserver {
        None => TokioResolver::builder_tokio(),
        Some(address) => {
            let at = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
            let server = NameServerConfig::new(address.ip(), true, connections);
            let config = ResolverConfig::from_name_servers(vec![server]);
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        }
    };
    let mut builder = builder.map_err(|error| format!("the system's name servers are unknown: {error}"))?;
    let options = builder.options_mut();
    options.timeout = PATIENCE;
    // What expires is looked up anew here; what is kept twice would be kept twice as long.
    options.cache_size = 0;
    builder.build().map_err(|error| error.to_string())
}

type Brought = (Vec<Endpoint>, Duration);

/// The last addresses of names, by kind.
type Known = HashMap<(String, RecordType), Vec<IpAddr>>;

async fn look_up(resolver: &TokioResolver, name: &DnsName, known: &mut Known) -> Result<Brought, String> {
    match name.port {
        Some(port) => {
            let (addresses, life) = addresses(resolver, &name.name, known).await?;
            let endpoint = |ip: &IpAddr| endpoint(SocketAddr::new(*ip, port), 1, false);
            Ok((addresses.iter().filter_map(endpoint).collect(), life))
        }
        None => services(resolver, &name.name, known).await,
    }
}

fn endpoint(address: SocketAddr, weight: u32, backup: bool) -> Option<Endpoint> {
    let address = EndpointAddress::parse(&address.to_string()).ok()?;
    Some(Endpoint { address, weight, backup })
}

/// The records of one kind, and how long they count; none if there are none of that kind.
async fn records(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<(Vec<RData>, Duration), String> {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let life = found.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
            let data = found.answers().iter().map(|record| record.data.clone()).collect();
            Ok((data, Duration::from_secs(life.into())))
        }
        Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok((Vec::new(), LIFE.1)),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// The addresses of a name of both kinds, and how long they count.
async fn addresses(resolver: &TokioResolver, name: &str, known: &mut Known) -> Result<(Vec<IpAddr>, Duration), String> {
    let (v4, v6) = tokio::join!(records(resolver, name, RecordType::A), records(resolver, name, RecordType::AAAA));
    if let (Err(why), Err(_)) = (&v4, &v6) {
        return Err(why.clone());
    }
    let (mut all, mut life) = (Vec::new(), LIFE.1);
    for (kind, answer) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
        let place = known.entry((name.to_owned(), kind)).or_default();
        match answer {
            Ok((records, counts)) => {
                *place = records.iter().filter_map(ip).collect();
                life = life.min(counts);
            }
            Err(_) => life = life.min(AGAIN),
        }
        all.extend_from_slice(place);
    }
    Ok((all, life))
}

fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(ip) => Some(IpAddr::from(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::from(ip.0)),
        _ => None,
    }
}

/// The endpoints of a service (RFC 2782): those of the lowest priority number get traffic, all others are backups.
async fn services(resolver: &TokioResolver, name: &str, known: &mut Known) -> Result<Brought, String> {
    let (records, mut life) = records(resolver, name, RecordType::SRV).await?;
    let services: Vec<SRV> = records
        .into_iter()
        .filter_map(|data| match data {
            RData::SRV(service) => Some(service),
            _ => None,
        })
        .collect();
    let first = services.iter().map(|service| service.priority).min().unwrap_or_default();
    let heaviest = services.iter().map(|service| u32::from(service.weight)).max().unwrap_or_default();
    // Names that are no longer pointed to need not be remembered.
    known.retain(|(target, _), _| services.iter().any(|service| service.target.to_string() == *target));
    let (mut endpoints, mut lost) = (Vec::new(), None);
    for service in &services {
        let target = service.target.to_string();
        // One that is not found takes no other with it: its last addresses stay, if it ever had any.
        let (addresses, counts) = addresses(resolver, &target, known).await.unwrap_or_else(|why| {
            tracing::debug!(name, why, "a target of a service is not found");
            lost = Some(why);
            let last = [RecordType::A, RecordType::AAAA].into_iter().filter_map(|kind| known.get(&(target.clone(), kind)));
            (last.flatten().copied().collect(), AGAIN)
        });
        life = life.min(counts);
        let weight = scaled(service.weight.into(), heaviest);
        let backup = service.priority != first;
        endpoints.extend(addresses.iter().filter_map(|ip| endpoint(SocketAddr::new(*ip, service.port), weight, backup)));
    }
    match lost {
        Some(why) if endpoints.is_empty() => Err(why),
        _ => Ok((endpoints, life)),
    }
}

/// A weight between 1 and the largest there is.
fn scaled(weight: u32, heaviest: u32) -> u32 {
    let weight = if heaviest > MAX_WEIGHT { weight * MAX_WEIGHT / heaviest } else { weight };
    weight.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_records_fit_into_ours() {
        assert_eq!((scaled(0, 0), scaled(0, 10), scaled(10, 10)), (1, 1, 10));
        assert_eq!((scaled(65_535, 65_535), scaled(32_768, 65_535), scaled(1, 65_535)), (1000, 500, 1));
    }
}
