//! `drain`, `maintenance` and `ready`: the operator's word about one endpoint of a running process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::admin::shape::Endpoint;
use crate::base::units::{format_duration, parse_duration};
use crate::cli::client::{Target, segment};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, plain};

/// What to say about which endpoint.
#[derive(Debug, Args)]
pub(super) struct Operate {
    /// The cluster's name
    cluster: String,
    /// The endpoint's address, as configured
    endpoint: String,
    /// How long it holds, such as 10m; without it until the next word
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
        let path = format!("/api/v1/clusters/{}/endpoints/{}/{verb}", segment(&self.cluster), segment(&self.endpoint));
        let answer = target.client()?.post(&path, self.order().into())?;
        let endpoint: Endpoint = answer.json()?;
        out.line(&self.told(&endpoint))?;
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
