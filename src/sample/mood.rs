//! The ways in which a sample endpoint can be sick, and how they are asked for over HTTP.

use std::time::Duration;

use crate::base::units::{Ratio, parse_duration};

/// How long an endpoint refuses when it was told so over HTTP: until then nobody can tell it to be well again.
const REFUSES_FOR: Duration = Duration::from_secs(10);

/// How an endpoint behaves.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Mood {
    /// As it should.
    #[default]
    Well,
    /// Nobody listens, and what was connected is closed; the port stays its own.
    Refuses,
    /// Connections are accepted and requests never answered, until the mood changes.
    Hangs,
    /// `/health` is answered with this status, 200 to 599; everything else as if well, as of a service that knows it is sick.
    Status(u16),
    /// The report states this cpu, 0 to 1; everything else as if well.
    Cpu(f64),
}

/// Why a mood was not understood: a sentence that says what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "mode=refuse, hang, status (with code=200 to 599) or cpu (with value=0% to 100%) is wanted, and for=10s if it shall pass"
)]
pub struct BadMood;

impl Mood {
    /// Reads a query such as `mode=cpu&value=97%&for=10s`: the mood, and after how long it passes by itself.
    ///
    /// Without more, `status` means 500, `cpu` 97 %, and only `refuse` passes, after 10 s.
    ///
    /// # Errors
    /// If a key or a value is unknown or out of range.
    pub fn parse(query: &str) -> Result<(Self, Option<Duration>), BadMood> {
        let (mut mode, mut code, mut value, mut span) = (None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, text) = pair.split_once('=').ok_or(BadMood)?;
            match key {
                "mode" => mode = Some(text),
                "code" => code = Some(text.parse().ok().filter(|code| (200..=599).contains(code)).ok_or(BadMood)?),
                "value" => value = Some(share(text)?),
                "for" => span = Some(parse_duration(text).map_err(|_| BadMood)?),
                _ => return Err(BadMood),
            }
        }
        let mood = match (mode.ok_or(BadMood)?, code, value) {
            ("refuse", None, None) => return Ok((Self::Refuses, Some(span.unwrap_or(REFUSES_FOR)))),
            ("hang", None, None) => Self::Hangs,
            ("status", code, None) => Self::Status(code.unwrap_or(500)),
            ("cpu", None, value) => Self::Cpu(value.unwrap_or(0.97)),
            _ => return Err(BadMood),
        };
        Ok((mood, span))
    }
}

/// A share in percent; the sign may be percent-encoded, as it must be in a URL.
fn share(text: &str) -> Result<f64, BadMood> {
    Ratio::parse(&text.replace("%25", "%")).map(Ratio::get).map_err(|_| BadMood)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |query: &str, wanted: Mood, seconds: Option<u64>| {
            assert_eq!(Mood::parse(query), Ok((wanted, seconds.map(Duration::from_secs))), "{query}");
        };
        check("mode=refuse", Mood::Refuses, Some(10));
        check("mode=refuse&for=3s", Mood::Refuses, Some(3));
        check("mode=hang", Mood::Hangs, None);
        check("for=5s&mode=hang", Mood::Hangs, Some(5));
        check("mode=status", Mood::Status(500), None);
        check("mode=status&code=503", Mood::Status(503), None);
        check("mode=cpu", Mood::Cpu(0.97), None);
        check("mode=cpu&value=80%25", Mood::Cpu(0.8), None);
        for bad in [
            "",
            "mode",
            "mode=x",
            "code=500",
            "mode=status&code=101",
            "mode=status&code=600",
            "mode=cpu&value=101%",
            "mode=cpu&x=1",
        ] {
            assert_eq!(Mood::parse(bad), Err(BadMood), "{bad}");
        }
        for bad in ["mode=hang&code=500", "mode=hang&for=5", "mode=cpu&value=0.9", "mode=cpu&value=%", "=", "&mode"] {
            assert_eq!(Mood::parse(bad), Err(BadMood), "{bad}");
        }
    }
}
