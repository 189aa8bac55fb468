//! Owns the lowering of what concerns the whole process: the admin interface and its token, metrics, and logs.

use std::sync::Arc;

use crate::base::address::ListenAddress;
use crate::config::defaults;
use crate::config::lower::host::listen_address;
use crate::config::lower::secret::secret_file;
use crate::config::lower::{At, Page};
use crate::config::model::{AccessFormat, AccessLog, AccessTarget, Admin, Log, LogFormat, LogLevel, Secret};
use crate::config::raw::{self, OrOff};
use crate::config::tree::quote;

/// Longest bearer token, in bytes: it must fit in a request's head many times.
pub(super) const MAX_TOKEN: usize = 4096;

/// The admin interface. Off loopback it must have a token, since whoever reaches it can drain endpoints.
pub(super) fn admin(at: &At<'_>, raw: Option<&raw::Admin>) -> Admin {
    let written = raw.and_then(|raw| raw.address.as_deref());
    let address = written.and_then(|text| listen_address(&at.key("address"), text)).unwrap_or_else(default_address);
    let file = raw.and_then(|raw| raw.token_file.as_deref());
    if !address.is_loopback() && file.is_none() && !at.has("token_file") {
        let hint = "or listen on loopback, such as 127.0.0.1:9900".to_owned();
        at.key("token_file").wrong("a file with a bearer token, since the address can be reached from elsewhere", hint);
    }
    let token = file.and_then(|file| token(&at.key("token_file"), file));
    Admin { address, token: token.map(Secret) }
}

fn default_address() -> ListenAddress {
    ListenAddress::parse(defaults::ADMIN_ADDRESS).expect("the default is an address")
}

fn token(at: &At<'_>, file: &str) -> Option<Arc<str>> {
    let text = secret_file(at, file)?;
    let token = text.trim();
    // Only what a header can carry: what stands in the file is never shown.
    if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let said = if token.is_empty() { "an empty file" } else { "no single token" };
        at.wrong_as(format!("{}, {said}", quote(file)), "a file with one token of 1 to 4096 visible ASCII characters", None);
        return None;
    }
    Some(token.into())
}

/// The metrics listener.
pub(super) fn metrics(at: &At<'_>, raw: &raw::Metrics) -> Option<ListenAddress> {
    listen_address(&at.key("address"), raw.address.as_deref()?)
}

/// The access log; none if it is off, or nothing is said of it.
pub(super) fn access_log(page: &Page<'_>, raw: Option<&OrOff<raw::AccessLog>>) -> Option<AccessLog> {
    let OrOff::Block(raw) = raw? else { return None };
    let target = match raw.path.as_deref().unwrap_or(defaults::ACCESS_LOG) {
        "stdout" => AccessTarget::Stdout,
        "stderr" => AccessTarget::Stderr,
        file => AccessTarget::File(page.folder.join(file)),
    };
    let format = raw.format.map_or_else(AccessFormat::default, |format| match format {
        raw::AccessFormat::Json => AccessFormat::Json,
        raw::AccessFormat::Combined => AccessFormat::Combined,
    });
    Some(AccessLog { target, format })
}

/// Logging.
pub(super) fn log(raw: Option<&raw::Log>) -> Log {
    let level = raw.and_then(|raw| raw.level).map_or_else(LogLevel::default, |level| match level {
        raw::LogLevel::Error => LogLevel::Error,
        raw::LogLevel::Warn => LogLevel::Warn,
        raw::LogLevel::Info => LogLevel::Info,
        raw::LogLevel::Debug => LogLevel::Debug,
        raw::LogLevel::Trace => LogLevel::Trace,
    });
    let format = raw.and_then(|raw| raw.format).map_or_else(LogFormat::default, |format| match format {
        raw::LogFormat::Auto => LogFormat::Auto,
        raw::LogFormat::Text => LogFormat::Text,
        raw::LogFormat::Json => LogFormat::Json,
    });
    Log { level, format }
}
