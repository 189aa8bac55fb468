//! `probe URL|CLUSTER`: one probe now, without any process: what is answered, what is read in it, what each rule would say.
//!
//! A cluster is read from the configuration file and asked exactly as the running proxy asks it, every endpoint of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::base::address::EndpointAddress;
use crate::cli::DEFAULT_FILE;
use crate::cli::client::online;
use crate::cli::failure::Failure;
use crate::cli::finding::{self, Probed, Report};
use crate::cli::output::{Output, plain};
use crate::cli::run::load;
use crate::cli::validate::or_tell;
use crate::config::model::Cluster;
use crate::health::check::{Check, ProbeSpec};
use crate::health::policy::{Rule, Timing};
use crate::probe::{self, Approach};
use crate::report::spec::Spec;
use crate::runtime::task;

/// How many endpoints are asked at a time.
const AT_A_TIME: usize = 32;
/// For a URL, from connect to the last byte: the default of `timeout`.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What to ask.
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// A URL such as http://127.0.0.1:9001/health, or the name of a cluster in the configuration file
    #[arg(value_name = "URL|CLUSTER")]
    target: String,
    /// The configuration file that has the cluster
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

impl Probe {
    /// Probes; the exit code is 0 if every probe passed.
    ///
    /// # Errors
    /// If there is no such cluster, or the URL is none.
    pub(super) fn run(&self, out: &mut Output) -> Result<ExitCode, Failure> {
        if self.target.contains("://") {
            return self.url(out);
        }
        let Some(config) = or_tell(load(&self.config)) else { return Ok(ExitCode::FAILURE) };
        let found = config.clusters.iter().find(|cluster| *cluster.name == *self.target);
        let names = config.clusters.iter().map(|cluster| &*cluster.name).collect::<Vec<_>>().join(", ");
        self.cluster(found.ok_or_else(|| self.no_cluster(&names))?, out)
    }

    fn no_cluster(&self, names: &str) -> Failure {
        let (file, target) = (self.config.display(), plain(&self.target));
        Failure::new(format!("{file}: no cluster is named {target}; there is {}; a URL begins with http://", plain(names)))
    }

    fn url(&self, out: &mut Output) -> Result<ExitCode, Failure> {
        let (address, probe, tls) =
            probe::plain(&self.target, TIMEOUT).map_err(|wanted| Failure::new(format!("{}: {wanted}", plain(&self.target))))?;
        let approach = Approach { tls, ..Approach::default() };
        let asked =
            Asked { probes: vec![Arc::new(probe)], report: Some(Spec::default()), rules: Vec::new(), fetched: None, approach };
        let probed = online(async { Ok(asked.ask(&address).await) })?;
        out.print(&finding::render(&self.target, &probed))?;
        Ok(exit(&[probed]))
    }

    fn cluster(&self, cluster: &Cluster, out: &mut Output) -> Result<ExitCode, Failure> {
        let asked = Arc::new(Asked::of(cluster));
        let addresses: Vec<EndpointAddress> = cluster.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect();
        let mut all = Vec::new();
        for some in addresses.chunks(AT_A_TIME) {
            let probed = online(asked.ask_all(some))?;
            for (address, probed) in some.iter().zip(&probed) {
                out.print(&finding::render(&format!("{} {address}", cluster.name), probed))?;
            }
            all.extend(probed);
        }
        Ok(exit(&all))
    }
}

fn exit(all: &[Probed]) -> ExitCode {
    if all.iter().all(Probed::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How each endpoint is asked.
#[derive(Debug)]
struct Asked {
    probes: Vec<Arc<ProbeSpec>>,
    report: Option<Spec>,
    rules: Vec<Rule>,
    /// The pace of a report from a path of its own.
    fetched: Option<Timing>,
    /// How connections to the endpoints begin.
    approach: Approach,
}

impl Asked {
    /// As the running proxy does.
    fn of(cluster: &Cluster) -> Self {
        Self {
            probes: cluster.probes.clone(),
            report: cluster.report.clone(),
            rules: cluster.health.rules.clone(),
            fetched: Some(cluster.report_timing),
            approach: Approach::of(cluster),
        }
    }

    async fn ask_all(self: &Arc<Self>, addresses: &[EndpointAddress]) -> Result<Vec<Probed>, Failure> {
        let asking = addresses.iter().map(|address| {
            let (asked, address) = (Arc::clone(self), address.clone());
            task::spawn(async move { asked.ask(&address).await })
        });
        let mut all = Vec::new();
        for asking in asking.collect::<Vec<_>>() {
            all.push(asking.await.map_err(|error| Failure::new(format!("probe: {error}")))?);
        }
        Ok(all)
    }

    async fn ask(&self, address: &EndpointAddress) -> Probed {
        let reports = self.probes.iter().position(|probe| matches!(probe.check, Check::Http(_)));
        let mut probed = Probed { runs: Vec::new(), report: None, rules: self.rules.clone() };
        for (number, spec) in self.probes.iter().enumerate() {
            let report = self.report.as_ref().filter(|_| reports == Some(number));
            let found = probe::once(address, spec, report, &self.approach).await;
            if let (Some(spec), Some(reading)) = (report, found.reading) {
                probed.report = Some(Report::new(spec, reading, found.answer.as_ref()));
            }
            probed.runs.push((Arc::clone(&spec.name), found.run, found.answer.map(|answer| answer.status)));
        }
        if let (Some(spec), Some(timing)) = (&self.report, self.fetched)
            && let Some((reading, answer)) = probe::fetch_report(address, spec, timing, &self.approach).await
        {
            probed.report = Some(Report::new(spec, reading, answer.as_ref()));
        }
        probed
    }
}
