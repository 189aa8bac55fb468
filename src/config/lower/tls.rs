//! Owns the lowering of TLS: the files that it names are read and checked here, so that what is wrong with them is told with
//! everything else that is wrong.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};

use crate::config::file::reason;
use crate::config::lower::At;
use crate::config::model::{Certificate, Clients, ClusterTls, ListenerTls, NamedFile};
use crate::config::raw::{self, ClientAuth};
use crate::config::tree::quote;
use crate::tls::{self, Identity, Part, PemError, Towards, TowardsTerms, Trust};

/// TLS towards clients.
pub(super) fn listener_tls(at: &At<'_>, raw: &raw::ListenerTls) -> Option<ListenerTls> {
    let certificates = certificates(at, raw);
    let clients = clients(at, raw);
    (!certificates.is_empty()).then_some(ListenerTls { certificates, clients })
}

fn certificates(at: &At<'_>, raw: &raw::ListenerTls) -> Vec<Certificate> {
    let single = at.has("cert") || at.has("key");
    match (single, at.has("certificates")) {
        (true, true) => at.key("certificates").wrong_key("both cert and certificates", "one of them", None),
        (false, false) => at.wrong_as("neither cert nor certificates", "one of them", None),
        _ => {}
    }
    if single {
        return identity(at, raw.cert.as_deref(), raw.key.as_deref()).into_iter().collect();
    }
    let listed = raw.certificates.iter().flatten().enumerate();
    let listed = listed.filter_map(|(index, files)| Some((index, files.as_ref()?)));
    let at = at.key("certificates");
    listed.filter_map(|(index, files)| identity(&at.item(index), files.cert.as_deref(), files.key.as_deref())).collect()
}

/// A certificate and its key, from the two files named at `at`.
fn identity(at: &At<'_>, cert: Option<&str>, key: Option<&str>) -> Option<Certificate> {
    for (name, given, other) in [("cert", cert, "key"), ("key", key, "cert")] {
        // Where the walk itself asks for both, it has told.
        if given.is_none() && !at.has(name) && at.has(other) {
            at.wrong_as(format!("{other} without {name}"), "both", None);
        }
    }
    let (cert, cert_text) = text(&at.key("cert"), cert?)?;
    let (key, key_text) = text(&at.key("key"), key?)?;
    match Identity::parse(&cert_text, &key_text) {
        Ok(identity) => Some(Certificate { cert, key, identity }),
        Err((Part::Cert, error)) => refuse(&at.key("cert"), &cert, &error),
        Err((Part::Key, error)) => refuse(&at.key("key"), &key, &error),
    }
}

fn clients(at: &At<'_>, raw: &raw::ListenerTls) -> Option<Clients> {
    if raw.client_auth.is_some() && !at.has("client_ca") {
        at.key("client_auth").wrong_key("client_auth without client_ca", "both, or neither", None);
    }
    let required = !matches!(raw.client_auth, Some(ClientAuth::Optional));
    let (file, authorities) = authorities(&at.key("client_ca"), raw.client_ca.as_deref()?)?;
    Some(Clients { file, trust: Trust { authorities, required } })
}

/// TLS towards the endpoints of a cluster.
pub(super) fn cluster_tls(at: &At<'_>, raw: &raw::ClusterTls) -> ClusterTls {
    let trusted = raw.ca.as_deref().and_then(|name| authorities(&at.key("ca"), name));
    let (ca, believed) = trusted.unzip();
    let own = identity(at, raw.cert.as_deref(), raw.key.as_deref());
    let server_name = raw.server_name.as_deref().and_then(|text| {
        let name = ServerName::try_from(text.to_owned()).ok();
        if name.is_none() {
            at.key("server_name").wrong("a name or an address such as orders.internal", None);
        }
        name
    });
    let terms = TowardsTerms { authorities: believed, identity: own.as_ref().map(|own| own.identity.clone()), server_name };
    ClusterTls { ca, own, server_name: raw.server_name.as_deref().map(Into::into), towards: Arc::new(Towards::new(terms)) }
}

/// The certificates of a file of authorities.
fn authorities(at: &At<'_>, name: &str) -> Option<(NamedFile, Vec<CertificateDer<'static>>)> {
    let (file, text) = text(at, name)?;
    match tls::authorities(&text) {
        Ok(authorities) => Some((file, authorities)),
        Err(error) => refuse(at, &file, &error),
    }
}

/// A named file and what stands in it. What stands in it is never shown: it may be a key.
fn text(at: &At<'_>, name: &str) -> Option<(NamedFile, String)> {
    let page = at.page();
    let path = page.folder.join(name);
    match (page.read)(&path) {
        Ok(text) => Some((NamedFile { name: name.into(), path }, text)),
        Err(error) => {
            at.wrong("a file that can be read", reason(&error));
            None
        }
    }
}

fn refuse<T>(at: &At<'_>, file: &NamedFile, error: &PemError) -> Option<T> {
    at.wrong_as(quote(&file.name), error.to_string(), None);
    None
}
