//! Owns a scheme, host and port as they are given on the command line: where a command talks to.

use http::Uri;

/// `scheme://host:port`, with nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: &'static str,
    authority: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads one of these schemes, each with the port that it has where none is written.
    pub(super) fn parse(text: &str, schemes: &[(&'static str, u16)]) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let (scheme, default) = *schemes.iter().find(|(scheme, _)| uri.scheme_str() == Some(scheme))?;
        let bare = uri.path_and_query().is_none_or(|path| path == "/");
        let authority = uri.authority().filter(|_| bare)?;
        let host = authority.host();
        if host.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        // A port that is no number is not reported by the parser.
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => default,
            _ => authority.port_u16()?,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { scheme, authority: authority.as_str().to_owned(), host, port })
    }

    /// The scheme.
    pub(super) const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// Host and port as they stand in the URL.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The port, that of the scheme where none is written.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let check = |text: &str, wanted: Option<(&str, &str, u16)>| {
            let origin = Origin::parse(text, &[("http", 80), ("https", 443)]);
            assert_eq!(origin.as_ref().map(|origin| (origin.scheme(), origin.host(), origin.port())), wanted, "{text}");
        };
        check("http://127.0.0.1:9900", Some(("http", "127.0.0.1", 9900)));
        check("http://localhost:9900/", Some(("http", "localhost", 9900)));
        check("https://[::1]:9900", Some(("https", "::1", 9900)));
        check("http://admin", Some(("http", "admin", 80)));
        check("https://edge", Some(("https", "edge", 443)));
        for bad in
            ["", "127.0.0.1:9900", "ftp://a:1", "http://a:x", "http://a:1/api", "http://a:99999", "http://u@a:1", "http://:1"]
        {
            check(bad, None);
        }
    }
}
