//! Pingora as a peer in the benchmark: the least program that does what the other peers are configured to do.
//!
//! `pingora-peer THREADS PLAIN TLS CERT KEY ENDPOINT...` balances round robin and adds the same forwarding headers.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::lb::LoadBalancer;
use pingora::lb::selection::RoundRobin;
use pingora::prelude::{HttpPeer, RequestHeader};
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;

struct Peer(Arc<LoadBalancer<RoundRobin>>);

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        let backend = self.0.select(b"", 256).ok_or_else(|| pingora::Error::new_str("nobody"))?;
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }

    async fn upstream_request_filter(&self, session: &mut Session, head: &mut RequestHeader, _: &mut ()) -> pingora::Result<()> {
        if let Some(client) = session.client_addr().and_then(|address| address.as_inet()) {
            head.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        head.insert_header("X-Forwarded-Proto", "http")?;
        if let Some(host) = session.req_header().headers.get("host") {
            head.insert_header("X-Forwarded-Host", host.as_bytes())?;
        }
        head.insert_header("Via", "1.1 pingora")?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [threads, plain, tls, cert, key, endpoints @ ..] = words.as_slice() else {
        return Err("usage: pingora-peer THREADS PLAIN TLS CERT KEY ENDPOINT...".into());
    };
    let conf = ServerConf { threads: threads.parse()?, upstream_keepalive_pool_size: 1024, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let balancer = LoadBalancer::try_from_iter(endpoints.iter().map(String::as_str))?;
    let mut service = http_proxy_service(&server.configuration, Peer(Arc::new(balancer)));
    service.add_tcp(plain);
    service.add_tls(tls, cert, key)?;
    server.add_service(service);
    server.run_forever();
}
