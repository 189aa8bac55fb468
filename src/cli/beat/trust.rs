//! Owns TLS towards proxies, as the command line asks for it: whom we believe, and who we say we are.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::origin::Origin;
use crate::tls::{self, Identity, Part, Towards, TowardsTerms};

/// Where a proxy takes heartbeats: `http://host:port` or `https://host:port`.
#[derive(Debug, Clone)]
pub(super) struct ProxyUrl(pub(super) Origin);

impl FromStr for ProxyUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let origin = Origin::parse(text, &[("http", 80), ("https", 443)]);
        origin.map(Self).ok_or("wanted is http://host:port or https://host:port")
    }
}

impl ProxyUrl {
    /// Whether TLS is spoken.
    pub(super) fn is_secured(&self) -> bool {
        self.0.scheme() == "https"
    }
}

/// What goes with `https://`.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// A file with the authorities to believe, in PEM; by default those of the system
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate to show to proxies that ask for one, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Trust {
    /// What connections are made with.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what it should be.
    pub(super) fn towards(&self) -> Result<Arc<Towards>, Failure> {
        let authorities = |file: &PathBuf| tls::authorities(&read("--ca", file)?).map_err(|wanted| said("--ca", file, &wanted));
        let authorities = self.ca.as_ref().map(authorities).transpose()?;
        let identity = self.cert.as_ref().zip(self.key.as_ref()).map(|(cert, key)| {
            Identity::parse(&read("--cert", cert)?, &read("--key", key)?).map_err(|(part, wanted)| match part {
                Part::Cert => said("--cert", cert, &wanted),
                Part::Key => said("--key", key, &wanted),
            })
        });
        Ok(Arc::new(Towards::new(TowardsTerms { authorities, identity: identity.transpose()?, server_name: None })))
    }
}

fn read(option: &str, file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{option} {}: {error}", file.display())))
}

fn said(option: &str, file: &Path, wanted: &tls::PemError) -> Failure {
    Failure::new(format!("{option} {}: wanted is {wanted}", file.display()))
}
