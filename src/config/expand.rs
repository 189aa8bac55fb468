//! Owns `${NAME}` and `${NAME:-default}` in scalars.
//!
//! Variables are put into values after YAML has been read, so that what a variable holds can never become a key, a list
//! item or a comment. The text is shielded before: its braces would end a plain scalar inside `{ }` or `[ ]`.
//! `$${` stands for `${` itself. It reads no environment; that comes as a function.

/// Stand in for the braces of a variable while YAML is read: of the private use area, and one character each, so that
/// columns stay what they are.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';

/// Longest value that a scalar with variables may become, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// What is wrong with one variable of a scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unset {
    /// The variable as it was written.
    pub(super) said: String,
    /// What would be right.
    pub(super) wanted: &'static str,
    /// What would help.
    pub(super) hint: String,
}

/// Replaces the braces of every well-formed variable, so that YAML sees ordinary characters in their places.
pub(super) fn shield(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, tail) = rest.split_at(start + 2);
        match variable_end(tail) {
            Some(end) => {
                out.push_str(&before[..=start]);
                out.push(OPEN);
                out.push_str(&tail[..end]);
                out.push(CLOSE);
                rest = &tail[end + 1..];
            }
            None => {
                out.push_str(before);
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The place of the closing brace of the variable that begins `text`, if it is well-formed: a name, and behind `:-` a
/// default on the same line.
fn variable_end(text: &str) -> Option<usize> {
    let end = text.find(['}', '\n'])?;
    let inside = &text[..end];
    let name = inside.split_once(":-").map_or(inside, |(name, _)| name);
    (text[end..].starts_with('}') && is_name(name)).then_some(end)
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !text.is_empty() && !text.as_bytes()[0].is_ascii_digit()
}

/// The text as it was written, with its braces back.
pub(super) fn unshield(text: &str) -> String {
    text.replace(OPEN, "{").replace(CLOSE, "}")
}

/// Puts the values of its variables into a shielded scalar; `None` if it has none.
///
/// # Errors
/// Every variable that is not set and has no default, and every `${` that is not well-formed. A variable that is set but
/// empty counts as unset where there is a default.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, Vec<Unset>> {
    if !text.contains(OPEN) && !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    // Looked at before each variable: many short ones may stand for much more text than there is memory.
    while let Some(at) = rest.find('$').filter(|_| out.len() <= MAX_VALUE) {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        rest = match tail.strip_prefix('$').filter(|escaped| escaped.starts_with([OPEN, '{'])) {
            Some(escaped) => {
                out.push('$');
                keep_braces(escaped, &mut out)
            }
            None => one(tail, env, &mut out, &mut problems),
        };
    }
    out.push_str(rest);
    if out.len() > MAX_VALUE {
        problems.push(too_long());
    }
    if problems.is_empty() { Ok(Some(unshield(&out))) } else { Err(problems) }
}

/// Passes on an escaped variable as it is; gives back what follows it.
fn keep_braces<'a>(escaped: &'a str, out: &mut String) -> &'a str {
    let end =
        escaped.find([CLOSE, '}']).map_or(escaped.len(), |end| end + escaped[end..].chars().next().map_or(0, char::len_utf8));
    out.push_str(&escaped[..end]);
    &escaped[end..]
}

/// Expands what follows a `$`; gives back what follows the variable.
fn one<'a>(tail: &'a str, env: &dyn Fn(&str) -> Option<String>, out: &mut String, problems: &mut Vec<Unset>) -> &'a str {
    let variable = tail.strip_prefix(OPEN).and_then(|inside| inside.split_once(CLOSE));
    let Some((inside, rest)) = variable else {
        if tail.starts_with('{') {
            problems.push(malformed(tail));
        }
        out.push('$');
        return tail;
    };
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    match (env(name), default) {
        (Some(value), None) => out.push_str(&value),
        (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
        (_, Some(default)) => out.push_str(default),
        (None, None) => problems.push(Unset {
            said: format!("${{{name}}}"),
            wanted: "a variable that is set",
            hint: format!("set {name}, or give it a default: ${{{name}:-default}}"),
        }),
    }
    rest
}

fn malformed(tail: &str) -> Unset {
    let shown: String = tail.chars().take(32).take_while(|c| *c != '\n').collect();
    Unset {
        said: format!("{:?}", format!("${shown}")),
        wanted: "${NAME} or ${NAME:-default}",
        hint: "write $${ for the two characters themselves".to_owned(),
    }
}

fn too_long() -> Unset {
    Unset {
        said: "more than 1 MiB after variables".to_owned(),
        wanted: "a shorter value",
        hint: "look at what the variables hold".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "PORT" => Some("9000".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${PORT}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        let check = |text: &str, wanted: Option<&str>| {
            assert_eq!(expand(&shield(text), &env).unwrap().as_deref(), wanted, "{text}");
        };
        check("plain", None);
        check("$PORT", None);
        check("cost: 5$", None);
        check("${PORT}", Some("9000"));
        check("a:${PORT}/b", Some("a:9000/b"));
        check("${HOST:-localhost}:${PORT}", Some("localhost:9000"));
        check("${HOST:-}", Some(""));
        check("${EMPTY}", Some(""));
        check("${EMPTY:-full}", Some("full"));
        check("${NESTED}", Some("${PORT}"));
        check("$${PORT}", Some("${PORT}"));
        check("$$${PORT}", Some("$${PORT}"));
        check("$${", Some("${"));
        check("${HOST:-a:-b}", Some("a:-b"));
    }

    #[test]
    fn every_unset_or_malformed_variable_is_told() {
        let said = |text: &str| expand(&shield(text), &env).unwrap_err().into_iter().map(|p| p.said).collect::<Vec<_>>();
        assert_eq!(said("${A}-${PORT}-${B}"), ["${A}", "${B}"]);
        assert_eq!(said("${A"), ["\"${A\""]);
        assert_eq!(said("${}"), ["\"${}\""]);
        assert_eq!(said("${1A}"), ["\"${1A}\""]);
        assert_eq!(said("${A-b}"), ["\"${A-b}\""]);
    }

    #[test]
    fn what_variables_grow_to_is_bounded() {
        let long = |_: &str| Some("y".repeat(1 << 19));
        assert_eq!(expand(&shield(&"${A}".repeat(1_000_000)), &long), Err(vec![too_long()]));
    }

    #[test]
    fn a_shield_keeps_the_place_of_every_character() {
        let text = "a: { b: ${PORT}, c: ${é}, d: $${X} }\n";
        let shielded = shield(text);
        assert_eq!(shielded.chars().count(), text.chars().count());
        assert!(shielded.contains("${é}"), "not a name, so left as it is");
        assert_eq!(unshield(&shielded), text);
    }
}
