//! Certificates read again when their files change, without a reload and without a client noticing.
//!
//! Whoever renews a certificate writes two files, one after the other, or swaps a link to a folder. So a change counts when
//! two looks in a row find the same; and what cannot be used then leaves the old certificate in force, and says so once.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

use crate::cluster::World;
use crate::config::Config;
use crate::config::model::{self, ClusterTls, ListenerTls, NamedFile};
use crate::control::Handle;
use crate::net::secure;
use crate::tls::{self, Identity, Part, Terms, Towards, TowardsTerms};

/// Between two looks. They cost a system call a file.
const EVERY: Duration = Duration::from_secs(1);
/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Looks at the files of everybody who terminates TLS, and of those towards whom we begin it, for ever.
pub(super) async fn watch(handle: Handle) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(EVERY).await;
        watch.look(&handle.live().world().load_full(), &handle.config());
    }
}

/// What is known of each owner's files.
#[derive(Debug, Default)]
struct Watch {
    /// What they were last read with, but for changes since.
    world: Option<Arc<World>>,
    files: HashMap<Owner, Files>,
}

/// Whose files they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    /// A listener's, or an inlet's.
    Listener(Arc<str>),
    Cluster(Arc<str>),
}

/// Files that were read a moment ago, with the configuration; whether they have changed since, nobody knows.
#[derive(Debug, Default)]
struct Files {
    /// As they were at the last look.
    seen: Vec<Print>,
    /// As they were when they were last read.
    read: Option<Vec<Print>>,
}

/// By what a file is known to be the same: when it was written, its length and its number.
type Print = Option<(SystemTime, u64, u64)>;

/// Why files cannot be used, for whoever wrote them.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {why}")]
struct Unusable {
    file: Arc<str>,
    why: String,
}

impl Watch {
    fn look(&mut self, world: &Arc<World>, config: &Config) {
        if !self.world.as_ref().is_some_and(|known| Arc::ptr_eq(known, world)) {
            self.files.clear();
            self.world = Some(Arc::clone(world));
        }
        for (owner, configured, tls) in world.terminated() {
            let now: Vec<Print> = paths(configured).into_iter().map(print).collect();
            if self.files.entry(Owner::Listener(Arc::clone(owner))).or_default().settled(now) {
                renew(owner, tls, configured);
            }
        }
        for cluster in &config.clusters {
            // What is in force may be older than the configuration, where that said the same.
            let in_force = world.cluster(&cluster.name).and_then(|live| live.snapshot().load().tls.clone());
            let (Some(configured), Some(towards)) = (&cluster.tls, in_force) else { continue };
            let now: Vec<Print> = paths_towards(configured).into_iter().map(print).collect();
            if self.files.entry(Owner::Cluster(Arc::clone(&cluster.name))).or_default().settled(now) {
                renew_towards(&cluster.name, &towards, configured);
            }
        }
    }
}

impl Files {
    /// Whether they have changed since they were read, and no longer change.
    fn settled(&mut self, now: Vec<Print>) -> bool {
        let still = self.seen == now;
        self.seen = now;
        if !still || self.read.as_ref() == Some(&self.seen) {
            return false;
        }
        self.read = Some(self.seen.clone());
        true
    }
}

fn renew(owner: &str, tls: &tls::Renewable, configured: &ListenerTls) {
    let seen = tls.terms();
    let renewed = terms(&seen, configured).and_then(|terms| {
        if terms == seen {
            return Ok(false);
        }
        let unusable = |error: tls::TermsError| Unusable { file: owner.into(), why: error.to_string() };
        tls.renew_if(&seen, terms).map_err(unusable)
    });
    match renewed {
        Ok(true) => tracing::info!(listener = owner, "certificates have changed; the new ones are in force"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(listener = owner, "certificates have changed and cannot be used; the old ones stay: {error}")
        }
    }
}

fn renew_towards(cluster: &Arc<str>, towards: &Towards, configured: &ClusterTls) {
    let seen = towards.terms();
    let renewed = terms_towards(&seen, configured).and_then(|terms| {
        if terms == seen {
            return Ok(false);
        }
        let unusable = |why: String| Unusable { file: Arc::clone(cluster), why };
        secure::renew(towards, &seen, terms).map_err(unusable)
    });
    match renewed {
        Ok(true) => tracing::info!(cluster = &**cluster, "certificates have changed; the new ones are in force"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(cluster = &**cluster, "certificates have changed and cannot be used; the old ones stay: {error}")
        }
    }
}

/// What the files say now, and for the rest what is in force.
fn terms_towards(seen: &TowardsTerms, configured: &ClusterTls) -> Result<TowardsTerms, Unusable> {
    let identity = configured.own.as_ref().map(identity).transpose()?;
    let authorities = configured.ca.as_ref().map(authorities).transpose()?;
    Ok(TowardsTerms { authorities, identity, ..seen.clone() })
}

/// What the files say now, and for the rest what is in force.
fn terms(seen: &Terms, configured: &ListenerTls) -> Result<Terms, Unusable> {
    let mut terms = seen.clone();
    terms.identities = configured.certificates.iter().map(identity).collect::<Result<_, _>>()?;
    if let (Some(trust), Some(clients)) = (&mut terms.clients, &configured.clients) {
        trust.authorities = authorities(&clients.file)?;
    }
    Ok(terms)
}

fn authorities(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let wanted = |error: tls::PemError| Unusable { file: Arc::clone(&file.name), why: format!("wanted {error}") };
    tls::authorities(&read(file)?).map_err(wanted)
}

fn identity(files: &model::Certificate) -> Result<Identity, Unusable> {
    Identity::parse(&read(&files.cert)?, &read(&files.key)?).map_err(|(part, error)| {
        let file = match part {
            Part::Cert => &files.cert,
            Part::Key => &files.key,
        };
        Unusable { file: Arc::clone(&file.name), why: format!("wanted {error}") }
    })
}

fn read(file: &NamedFile) -> Result<String, Unusable> {
    let mut text = String::new();
    let result = std::fs::File::open(&file.path).and_then(|opened| opened.take(MAX_FILE).read_to_string(&mut text));
    result.map(|_| text).map_err(|error| Unusable { file: Arc::clone(&file.name), why: error.to_string() })
}

fn paths_towards(tls: &ClusterTls) -> Vec<&PathBuf> {
    let own = tls.own.iter().flat_map(|own| [&own.cert.path, &own.key.path]);
    own.chain(tls.ca.iter().map(|file| &file.path)).collect()
}

fn paths(tls: &ListenerTls) -> Vec<&PathBuf> {
    let identities = tls.certificates.iter().flat_map(|files| [&files.cert.path, &files.key.path]);
    identities.chain(tls.clients.iter().map(|clients| &clients.file.path)).collect()
}

fn print(path: impl AsRef<Path>) -> Print {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
