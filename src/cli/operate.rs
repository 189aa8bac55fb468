//! `drain`, `maintenance`, `ready`, `freeze` and `thaw`: the operator's word about an endpoint or a cluster of a running process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::admin::shape::{Cluster, Endpoint};
use crate::base::units::{format_duration, parse_duration};
use crate::cli::client::{Target, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};

/// What to say about which endpoint.
#[derive(Debug, Args)]
pub(super) struct Operate {
    /// The cluster's name
    cluster: String,
    /// The endpoint's address, as configured; without it, every endpoint of the cluster
    endpoint: Option<String>,
    /// How long it holds, such as 10m; without it until the next word. What ready interrupts comes back then
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    span: Option<Duration>,
    /// Why, for those who ask later
    #[arg(long)]
    reason: Option<String>,
}

impl Operate {
    /// Gives the order, by its name in the API.
    ///
    /// # Errors
    /// If the process cannot be asked, or refuses.
    pub(super) fn run(&self, verb: &str, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        let cluster = segment(&self.cluster);
        let endpoints = match &self.endpoint {
            Some(endpoint) => {
                let path = format!("/api/v1/clusters/{cluster}/endpoints/{}/{verb}", segment(endpoint));
                vec![target.client()?.post(&path, self.order().into())?.json::<Endpoint>()?]
            }
            None => {
                let path = format!("/api/v1/clusters/{cluster}/{verb}");
                target.client()?.post(&path, self.order().into())?.json::<Cluster>()?.endpoints
            }
        };
        for endpoint in &endpoints {
            out.line(&self.told(endpoint))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn order(&self) -> String {
        let mut order = serde_json::Map::new();
        if let Some(span) = self.span {
            order.insert("for".to_owned(), format_duration(span).into());
        }
        if let Some(reason) = &self.reason {
            order.insert("reason".to_owned(), reason.as_str().into());
        }
        serde_json::Value::Object(order).to_string()
    }

    fn told(&self, endpoint: &Endpoint) -> String {
        let span = self.span.map(|span| format!(", for {}", format_duration(span))).unwrap_or_default();
        format!("{} {} is {}{span}", plain(&self.cluster), plain(&endpoint.address), plain(&endpoint.state))
    }
}

/// Which cluster.
#[derive(Debug, Args)]
pub(super) struct Freeze {
    /// The cluster's name
    cluster: String,
}

impl Freeze {
    /// Freezes or thaws.
    ///
    /// # Errors
    /// If the process cannot be asked, or refuses.
    pub(super) fn run(&self, verb: &str, target: &Target, out: &mut Output) -> Result<ExitCode, Failure> {
        let path = format!("/api/v1/clusters/{}/{verb}", segment(&self.cluster));
        let answer: serde_json::Value = target.client()?.post(&path, bytes::Bytes::new())?.json()?;
        let frozen = answer["frozen"].as_bool() == Some(true);
        let told = if frozen { "is frozen: no verdict changes until it is thawed" } else { "is not frozen" };
        out.line(&format!("{} {told}", plain(&self.cluster)))?;
        Ok(ExitCode::SUCCESS)
    }
}
