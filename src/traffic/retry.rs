//! Whether an exchange is tried again.
//!
//! A retry must never do twice what the client asked for once: only a request that did not leave us, or that may be
//! repeated by its method, is sent again, and never one whose body has begun to be read.

use http::Method;

use crate::traffic::policy::RetryPolicy;

/// How a try ended that might be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// There was no connection.
    Connect,
    /// The connection was reset or closed before an answer, or the answer was no HTTP.
    Reset,
    /// The endpoint said nothing: its own time-out ran out, or the try was recalled.
    Silence,
    /// It answered with this status.
    Status {
        /// The status.
        status: u16,
        /// Whether the answer has Retry-After.
        retry_after: bool,
    },
}

/// What matters about an exchange so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// Tries so far, at least 1.
    pub tries: u32,
    /// Whether the method may be repeated.
    pub idempotent: bool,
    /// Whether bytes of the request's body have been read.
    pub body_begun: bool,
    /// Whether any byte of the request may have reached an endpoint.
    pub sent: bool,
}

/// Whether policy and method allow another try; the budget is asked afterwards.
#[must_use]
pub fn may_retry(policy: &RetryPolicy, exchange: Exchange, ending: Ending) -> bool {
    if exchange.tries >= policy.attempts || exchange.body_begun {
        return false;
    }
    let repeatable = exchange.idempotent || !exchange.sent;
    match ending {
        Ending::Connect => policy.on.connect && repeatable,
        Ending::Reset => policy.on.reset && repeatable,
        Ending::Silence => policy.on.silence && repeatable,
        Ending::Status { status: 503, retry_after: true } => false,
        Ending::Status { status, .. } => exchange.idempotent && policy.statuses.contains(&status),
    }
}

/// Whether a method may be repeated (RFC 9110, section 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Ratio;
    use crate::traffic::policy::RetryOn;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 3,
            per_try_timeout: None,
            on: RetryOn { connect: true, reset: true, silence: true },
            statuses: vec![502, 503, 504],
            budget: Ratio::parse("20%").unwrap(),
        }
    }

    const GET: Exchange = Exchange { tries: 1, idempotent: true, body_begun: false, sent: true };
    const POST: Exchange = Exchange { tries: 1, idempotent: false, body_begun: false, sent: true };

    #[test]
    fn what_is_tried_again() {
        let check = |exchange: Exchange, ending: Ending, wanted: bool| {
            assert_eq!(may_retry(&policy(), exchange, ending), wanted, "{exchange:?} {ending:?}")
        };
        let status = |status, retry_after| Ending::Status { status, retry_after };
        check(GET, Ending::Reset, true);
        check(GET, Ending::Silence, true);
        check(GET, status(503, false), true);
        check(GET, status(503, true), false);
        check(GET, status(500, false), false);
        check(POST, Ending::Reset, false);
        check(POST, status(503, false), false);
        check(Exchange { sent: false, ..POST }, Ending::Connect, true);
        check(Exchange { sent: false, ..POST }, Ending::Reset, true);
        check(Exchange { body_begun: true, ..GET }, Ending::Reset, false);
        check(Exchange { body_begun: true, sent: false, ..POST }, Ending::Connect, false);
        check(Exchange { tries: 3, ..GET }, Ending::Connect, false);
    }

    #[test]
    fn what_the_policy_leaves_out_is_not_tried_again() {
        let policy = RetryPolicy { on: RetryOn::default(), statuses: Vec::new(), ..policy() };
        for ending in [Ending::Connect, Ending::Reset, Ending::Silence, Ending::Status { status: 502, retry_after: false }] {
            assert!(!may_retry(&policy, GET, ending));
        }
    }
}
