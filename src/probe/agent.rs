//! A run of an agent probe: connect, read one line, and make of it what HAProxy would.
//!
//! That nobody speaks there is no failure, for an agent is a program beside the endpoint: such a run is void. What a line does not
//! mention stays as it was, the vote included: `75%` after `down` is still down.

use tokio::io::AsyncReadExt;

use crate::health::signal::{Failure, ProbeResult};
use crate::net::dial::DialError;
use crate::net::socket::Socket;
use crate::report::spec::{Format, Spec};
use crate::report::{self, Asks, MAX_LINE, Said, StatusWord};

/// What is remembered of an agent between runs.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// What it said last about health.
    vote: Option<ProbeResult>,
}

/// Reads the line.
///
/// # Errors
/// If the connection breaks.
pub(super) async fn line(stream: Socket) -> Result<Vec<u8>, DialError> {
    let mut line = Vec::new();
    // One byte more than a line may have, so that a longer one is known as such.
    let mut rest = stream.take(u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1);
    while !line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        if rest.read_buf(&mut line).await.map_err(DialError::Other)? == 0 {
            break;
        }
    }
    Ok(line)
}

impl Agent {
    /// Makes out what a line says: the vote, and what is asked for.
    pub(super) fn hear(&mut self, line: &[u8]) -> (ProbeResult, Asks) {
        let spec = Spec { format: Format::Agent, ..Spec::default() };
        match report::read(&spec, &Said::new(None, line)) {
            Ok(Some(report)) => {
                match report.status {
                    Some(StatusWord::Failing) => {
                        let word = report.word.clone().unwrap_or_default();
                        self.vote = Some(ProbeResult::Fail(Failure::ReportStatus(word)));
                    }
                    Some(StatusWord::Healthy | StatusWord::Degraded) => self.vote = Some(ProbeResult::Pass),
                    None => {}
                }
                (self.vote.clone().unwrap_or(ProbeResult::Pass), report.asks)
            }
            Ok(None) => (ProbeResult::Void("the agent said nothing".to_owned()), Asks::default()),
            Err(unreadable) => (ProbeResult::Void(unreadable.to_string()), Asks::default()),
        }
    }
}

/// The result of a run in which no line came.
pub(super) fn silent(why: &str) -> ProbeResult {
    ProbeResult::Void(format!("the agent says nothing: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_does_not_mention_stays() {
        let mut agent = Agent::default();
        let down = |word: &str| ProbeResult::Fail(Failure::ReportStatus(word.to_owned()));
        let mut check = |line: &str, wanted: ProbeResult| assert_eq!(agent.hear(line.as_bytes()).0, wanted, "{line}");
        check("75%\n", ProbeResult::Pass);
        check("down #db gone\n", down("down #db gone"));
        check("75%\n", down("down #db gone"));
        check("ready", down("down #db gone"));
        check("UP\r\n", ProbeResult::Pass);
        check("maxconn:3", ProbeResult::Pass);
    }

    #[test]
    fn what_is_no_line_is_void_and_asks_for_nothing() {
        let mut agent = Agent::default();
        agent.hear(b"down");
        for bad in [b"".to_vec(), b"hello\n".to_vec(), b"\xff\xfe".to_vec(), vec![b'u'; MAX_LINE + 1]] {
            let (result, asks) = agent.hear(&bad);
            assert!(matches!(result, ProbeResult::Void(_)), "{result:?}");
            assert_eq!(asks, Asks::default());
        }
    }
}
