//! An endpoint to put behind the proxy: it reports its real cpu and memory and can be told to turn sick.
//!
//! ```text
//! cargo run --example sample_endpoint -- --listen 127.0.0.1:9001 --name one
//! curl 127.0.0.1:9001/health
//! curl -X POST '127.0.0.1:9001/sick?mode=cpu&value=97%25'     also: hang, status&code=503, refuse&for=10s
//! curl -X POST 127.0.0.1:9001/well
//! ```

use std::io::{self, Write as _};
use std::net::SocketAddr;

use clap::Parser;
use pulsegate::runtime::thread;
use pulsegate::sample::Endpoint;
use tokio::signal::unix::{SignalKind, signal};

/// A sample endpoint: `/` answers with its name, `/health` with its cpu and memory.
#[derive(Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What `/` answers; the address if it is left out.
    #[arg(long)]
    name: Option<String>,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    thread::block_on(async {
        let endpoint = Endpoint::start_as(options.name.map(Into::into), options.listen).await?;
        writeln!(io::stdout(), "{} listens on http://{}", endpoint.name(), endpoint.address())?;
        // As the first process of a container it would otherwise not hear SIGTERM.
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended,
            _ = terminate.recv() => Ok(()),
        }
    })?
}
