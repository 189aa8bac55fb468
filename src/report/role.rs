//! What an endpoint says that it is among its siblings: a word and an epoch, taken off a page by their places.
//!
//! Requests that change something follow from it, so nothing is guessed: a word is text, or true or false; an epoch is a whole
//! number that every reader of JSON reads alike. A word beside an epoch that cannot be read is void as a whole, since without
//! its epoch it would count as an older claim than it is. Which words mean that it leads, the configuration says.

use std::sync::Arc;

use super::hint::shown;
use super::page::Page;
use super::spec::RoleFields;
use super::tree::Node;
use super::value::{Claim, MAX_ROLE, Void};

/// What a void of one of them is called: no metric of the configuration has the name of another setting.
const ROLE: &str = "leader.role_field";
const EPOCH: &str = "leader.epoch_field";
/// Whole numbers are exact up to here, whoever reads them.
const MAX_EPOCH: f64 = 9_007_199_254_740_991.0;

/// What the first of these pages says that says anything of it.
///
/// # Errors
/// The void that it is otherwise.
pub(super) fn read<'a>(fields: &RoleFields, mut pages: impl Iterator<Item = &'a dyn Page>) -> Result<Claim, Void> {
    let void = |metric: &str, hint: String| Void { metric: metric.into(), hint };
    let place = &*fields.role;
    let missing = || void(ROLE, format!("no word at `{}`; only reports in JSON hold words", shown(place)));
    let page = pages.find(|page| page.node(place).is_some()).ok_or_else(missing)?;
    let role = page.node(place).map_or_else(|| Err("missing"), word);
    let role = role.map_err(|is| void(ROLE, format!("`{}` is {is}", shown(place))))?;
    let epoch = page.node(&fields.epoch).map_or(Ok(None), whole);
    let epoch = epoch.map_err(|is| void(EPOCH, format!("`{}` is {is}, so its role does not count", shown(&fields.epoch))))?;
    Ok(Claim { role, epoch })
}

fn word(node: &Node) -> Result<Arc<str>, &'static str> {
    match node {
        Node::Text(text) if (1..=MAX_ROLE).contains(&text.trim().len()) => Ok(text.trim().into()),
        Node::Text(_) => Err("no word of 1 to 64 bytes"),
        Node::Bool(value) => Ok(if *value { "true" } else { "false" }.into()),
        Node::Null => Err("null"),
        Node::Number(_) => Err("a number, not a word"),
        Node::List(_) => Err("a list, not a word"),
        Node::Object(_) => Err("an object, not a word"),
        Node::Twice => Err(node.kind()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within what is exact")]
fn whole(node: &Node) -> Result<Option<u64>, &'static str> {
    match node {
        Node::Null => Ok(None),
        Node::Number(value) if (0.0..=MAX_EPOCH).contains(value) && value.fract() == 0.0 => Ok(Some(*value as u64)),
        Node::Number(_) => Err("no whole number from 0 to 2^53 - 1"),
        other => Err(other.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::spec::Spec;
    use crate::report::{Report, Said};

    fn report(body: &str) -> Report {
        let role = Some(RoleFields { role: "role".into(), epoch: "raft.term".into() });
        crate::report::read(&Spec { role, ..Spec::default() }, &Said::new(None, body.as_bytes())).unwrap().unwrap()
    }

    #[test]
    fn a_word_and_its_epoch_are_read_in_every_shape_of_json() {
        let check = |body: &str, role: &str, epoch: Option<u64>| {
            let report = report(body);
            assert_eq!(report.claim, Some(Claim { role: role.into(), epoch }), "{body}: {:?}", report.voids);
        };
        check(r#"{"role":"leader","raft":{"term":7}}"#, "leader", Some(7));
        check(r#"{"role":"leader","raft.term":7.0,"cpu":0.3}"#, "leader", Some(7));
        check(r#"{"role":" Replica ","raft":{"term":9007199254740991}}"#, "Replica", Some(9_007_199_254_740_991));
        check(r#"{"role":true}"#, "true", None);
        check(r#"{"role":"leader","raft":{"term":null}}"#, "leader", None);
        check(r#"{"status":"UP","components":{"db":{"status":"UP"}},"role":"leader","raft":{"term":0}}"#, "leader", Some(0));
        check(r#"{"status":"pass","checks":{"x":[{"observedValue":1}]},"role":"leader"}"#, "leader", None);
    }

    #[test]
    fn what_is_no_claim_is_a_void_and_no_other_is_lost_by_it() {
        let check = |body: &str, field: &str, said: &str| {
            let report = report(body);
            assert_eq!(report.claim, None, "{body}");
            let void = report.voids.iter().find(|void| *void.metric == format!("leader.{field}_field"));
            assert!(void.is_some_and(|void| void.hint.contains(said)), "{body}: {:?}", report.voids);
        };
        check(r#"{"status":"UP"}"#, "role", "no word at `role`");
        check("OK", "role", "only reports in JSON");
        check("# TYPE role gauge\nrole 1\n", "role", "only reports in JSON");
        check(r#"{"role":""}"#, "role", "1 to 64 bytes");
        check(&format!(r#"{{"role":"{}"}}"#, "x".repeat(65)), "role", "1 to 64 bytes");
        for other in ["null", "1", "[]", "{}"] {
            check(&format!(r#"{{"role":{other}}}"#), "role", "`role` is ");
        }
        check(r#"{"role":"leader","role":"replica"}"#, "role", "there twice");
        for other in ["-1", "1.5", "9007199254740993", "1e300", "\"7\"", "true", "[7]", "{}"] {
            check(&format!(r#"{{"role":"leader","raft":{{"term":{other}}}}}"#), "epoch", "does not count");
        }
        let other = report(r#"{"role":7,"cpu":0.3}"#);
        assert_eq!(other.metric("cpu"), Some(0.3));
    }

    #[test]
    fn nothing_is_looked_for_that_nobody_wants() {
        let said = Said::new(None, br#"{"role":"leader"}"#);
        let report = crate::report::read(&Spec::default(), &said).unwrap().unwrap();
        assert_eq!((report.claim, report.voids), (None, Vec::new()));
    }
}
