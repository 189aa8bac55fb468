//! The names that cpu and memory usually have, so that most services need no `map`.
//!
//! Spelling is ignored: `cpuUsage`, `cpu_usage`, `cpu-usage` and `cpu.usage` are one name, since what is nested in one
//! framework is joined in another. A name is on the list only if it can mean nothing but a share: not `cpu_load`, which
//! may be a load average, nor `memory_rss`, which is an amount. Amounts count as pairs with their limit.

use std::collections::BTreeMap;

use super::page::{Fold, Lookup, Page, Pair};

/// What a name may begin with, the most general first: of two names that fit, the earlier counts.
const BEFORE: &[&str] =
    &["", "system", "host", "process", "jvm", "load", "usage", "metrics", "report", "resources", "diagnostics", "stats"];

const CPU: &[&str] = &[
    "cpu",
    "cpuusage",
    "cpuutilization",
    "cpupercent",
    "cpupct",
    "cpuusagepercent",
    "cpuusedpercent",
    "cpuratio",
    "cpuusageratio",
];

const MEMORY: &[&str] = &[
    "memory",
    "mem",
    "memoryusage",
    "memusage",
    "memoryutilization",
    "memutilization",
    "memorypercent",
    "mempercent",
    "memorypct",
    "mempct",
    "memoryusedpercent",
    "memusedpercent",
    "memoryusagepercent",
    "memusagepercent",
    "memoryratio",
    "memratio",
    "memoryusedratio",
    "memoryusageratio",
];

const AMOUNTS: &[&str] = &["memoryheap", "memory", "mem"];
const LIMITS: &[&str] = &["limit", "max", "total"];
const SIZES: &[&str] = &["", "bytes", "kb", "kib", "mb", "mib", "gb", "gib"];

/// Longest name that can be a usual one, spelling ignored.
const LONGEST: usize = 40;

/// Where cpu and memory stand on a page, as far as their names are usual.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// The name of cpu.
    pub(super) cpu: Option<String>,
    /// The name of memory as a share.
    pub(super) memory: Option<String>,
    /// Memory as an amount and its limit, if it is not there as a share.
    pub(super) memory_pair: Option<Pair>,
}

impl Usual {
    /// Looks through a page once.
    pub(super) fn find(page: &dyn Page) -> Self {
        let (mut cpu, mut memory) = (Best::default(), Best::default());
        let mut pairs: BTreeMap<Group, (Option<String>, Best)> = BTreeMap::new();
        page.visit(&mut |number| {
            let Some(plain) = plain(number.name) else { return true };
            cpu.offer(rank(&plain, CPU), number.name);
            memory.offer(rank(&plain, MEMORY), number.name);
            match amount(&plain) {
                Some((group, Role::Used)) => {
                    pairs.entry(group).or_default().0.get_or_insert_with(|| number.name.to_owned());
                }
                Some((group, Role::Limit(rank))) => pairs.entry(group).or_default().1.offer(Some(rank), number.name),
                None => {}
            }
            true
        });
        let memory = memory.name();
        let memory_pair = if memory.is_some() {
            None
        } else {
            page.memory_pair().or_else(|| pairs.into_values().find_map(|(used, limit)| pair(page, &used?, &limit.name()?)))
        };
        Self { cpu: cpu.name(), memory, memory_pair }
    }
}

/// The name with the lowest rank so far.
#[derive(Debug, Default)]
struct Best(Option<(usize, String)>);

impl Best {
    fn offer(&mut self, rank: Option<usize>, name: &str) {
        if let Some(rank) = rank
            && self.0.as_ref().is_none_or(|(best, _)| rank < *best)
        {
            self.0 = Some((rank, name.to_owned()));
        }
    }

    fn name(self) -> Option<String> {
        self.0.map(|(_, name)| name)
    }
}

/// A name without its spelling; `None` if it is too long to be a usual one.
fn plain(name: &str) -> Option<String> {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        }
        if out.len() > LONGEST {
            return None;
        }
    }
    Some(out)
}

fn rank(plain: &str, names: &[&str]) -> Option<usize> {
    BEFORE.iter().enumerate().find_map(|(before, prefix)| {
        let name = plain.strip_prefix(prefix)?;
        Some(before * names.len() + names.iter().position(|usual| *usual == name)?)
    })
}

/// What makes two amounts a pair: the same beginning, the same name and the same size.
type Group = (usize, usize, usize);

enum Role {
    Used,
    Limit(usize),
}

fn amount(plain: &str) -> Option<(Group, Role)> {
    BEFORE.iter().enumerate().find_map(|(before, prefix)| {
        let rest = plain.strip_prefix(prefix)?;
        AMOUNTS.iter().enumerate().find_map(|(stem, name)| {
            let rest = rest.strip_prefix(name)?;
            let size = |rest: &str| SIZES.iter().position(|size| *size == rest);
            if let Some(size) = rest.strip_prefix("used").and_then(size) {
                return Some(((before, stem, size), Role::Used));
            }
            LIMITS.iter().enumerate().find_map(|(rank, limit)| {
                let size = rest.strip_prefix(limit).and_then(size)?;
                Some(((before, stem, size), Role::Limit(rank)))
            })
        })
    })
}

fn pair(page: &dyn Page, used_at: &str, limit_at: &str) -> Option<Pair> {
    let number = |place: &str| match page.lookup(place, Fold::Sum) {
        Lookup::Number { value, .. } => Some(value),
        Lookup::Other(_) | Lookup::Missing | Lookup::BadPlace(_) => None,
    };
    let (used, limit) = (number(used_at)?, number(limit_at)?);
    (limit > 0.0).then(|| Pair { used, limit, place: format!("{used_at} / {limit_at}") })
}

#[cfg(test)]
mod tests {
    use super::super::json::JsonPage;
    use super::super::tree::Node;
    use super::*;

    fn usual(body: &str) -> Usual {
        Usual::find(&JsonPage::new(Node::parse(body.as_bytes()).unwrap()))
    }

    #[test]
    fn cpu_under_its_usual_names() {
        let check = |body: &str, wanted: Option<&str>| assert_eq!(usual(body).cpu.as_deref(), wanted, "{body}");
        for name in ["cpu", "cpu_usage", "cpuUsage", "cpu-usage", "cpu_percent", "CPU", "system.cpu.usage", "process_cpu_usage"] {
            check(&format!(r#"{{"x":1,"{name}":0.3}}"#), Some(name));
        }
        check(r#"{"cpu":{"usage":0.3}}"#, Some("cpu.usage"));
        check(r#"{"system":{"cpu":{"usage":0.3}}}"#, Some("system.cpu.usage"));
        check(r#"{"load":{"cpu":0.3}}"#, Some("load.cpu"));
        check(r#"{"process":{"cpu":0.1},"system":{"cpu":0.2},"cpu":0.3}"#, Some("cpu"));
        check(r#"{"process":{"cpu":0.1},"system":{"cpu":0.2}}"#, Some("system.cpu"));
        for none in [r#"{"cpu_load":3}"#, r#"{"cpus":4}"#, r#"{"cpu":"0.3"}"#, r#"{"cpu":{"count":4}}"#, r#"{"a":{"cpu":0.3}}"#] {
            check(none, None);
        }
    }

    #[test]
    fn memory_as_a_share_or_as_a_pair() {
        let name = |body: &str, wanted: &str| assert_eq!(usual(body).memory.as_deref(), Some(wanted), "{body}");
        name(r#"{"memory":0.4}"#, "memory");
        name(r#"{"mem":{"used_percent":40}}"#, "mem.used_percent");
        name(r#"{"memory":{"used":1,"total":2,"percent":50}}"#, "memory.percent");
        let pair = |body: &str, wanted: Option<(f64, f64)>| {
            let found = usual(body);
            assert_eq!(found.memory, None, "{body}");
            assert_eq!(found.memory_pair.map(|pair| (pair.used, pair.limit)), wanted, "{body}");
        };
        pair(r#"{"memory":{"used":1,"limit":4}}"#, Some((1.0, 4.0)));
        pair(r#"{"memory":{"used":1,"max":8,"total":16,"limit":4}}"#, Some((1.0, 4.0)));
        pair(r#"{"jvm.memory.used":1,"jvm.memory.max":4}"#, Some((1.0, 4.0)));
        pair(r#"{"memoryUsedBytes":1,"memoryLimitBytes":4}"#, Some((1.0, 4.0)));
        pair(r#"{"memory_used_mb":1,"memory_limit_bytes":4}"#, None);
        pair(r#"{"memory":{"used":1,"limit":0}}"#, None);
        pair(r#"{"memory":{"used":1}}"#, None);
        pair(r#"{"memory":{"rss":1,"limit":4}}"#, None);
    }
}
