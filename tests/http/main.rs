//! The whole path of a request over real sockets: the program itself, real clients on one side, raw endpoints on the other.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod announced;
mod certificates;
mod clients;
mod connections;
mod continues;
mod curl;
mod frames;
mod framing;
mod grpc;
mod headers;
mod http2;
mod http2_bytes;
mod leaving;
mod makes;
mod methods;
mod origin;
mod pattern;
mod pressure;
mod program;
mod replies;
mod replies_http2;
mod routes;
mod smuggling;
mod targets;
mod tls;
mod tls_upstream;
mod transfers;
mod wire;
