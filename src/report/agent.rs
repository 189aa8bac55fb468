//! The line of an HAProxy agent: `up ready 75% maxconn:30`, or `down #db gone`.
//!
//! Words in any order and any case, split by blanks, tabs or commas, up to the first end of line; what follows `#` is for people.
//! What a line does not mention stays as it was. A word that is unknown is passed over, as HAProxy does, as long as there is
//! one that is known.

use super::page::{Fold, Lookup, Number, Page};
use super::value::{Asks, Share, Wish};

/// Longest line that is read, in bytes.
pub const MAX_LINE: usize = 1024;
/// Greatest weight that an agent can ask for in place of the configured one.
const MAX_WEIGHT: u32 = 256;
/// Greatest part of its configured weight that an agent can ask for, in percent.
const MAX_PERCENT: u32 = 25_600;

/// What an agent said.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Line<'a> {
    /// `up`, or `down`, `fail`, `stopped`, as written.
    word: Option<&'a str>,
    /// The text after `#`.
    pub(super) comment: Option<&'a str>,
    asks: Asks,
    /// Whether every word was known.
    pub(super) all_known: bool,
}

impl<'a> Line<'a> {
    /// Reads the first line of a text.
    ///
    /// # Errors
    /// What is wanted, if there is no word in it that an agent says.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let line = text.split(['\r', '\n']).next().unwrap_or_default();
        if line.len() > MAX_LINE {
            return Err("a line of at most 1024 bytes is wanted");
        }
        let (words, comment) = line.split_once('#').map_or((line, None), |(words, comment)| (words, Some(comment.trim())));
        let mut read = Self { comment, all_known: true, ..Self::default() };
        let mut known = false;
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            let taken = read.take(word);
            known |= taken;
            read.all_known &= taken;
        }
        if known { Ok(read) } else { Err("words such as `up`, `down #reason`, `75%`, `ready` or `maxconn:30` are wanted") }
    }

    fn take(&mut self, word: &'a str) -> bool {
        match word.to_ascii_lowercase().as_str() {
            "up" | "down" | "fail" | "failed" | "stopped" => self.word = Some(word),
            "ready" => self.asks.wish = Some(Wish::Ready),
            "drain" => self.asks.wish = Some(Wish::Drain),
            "maint" => self.asks.wish = Some(Wish::Maintenance),
            other => return self.take_number(other),
        }
        true
    }

    fn take_number(&mut self, word: &str) -> bool {
        if let Some(most) = word.strip_prefix("maxconn:").and_then(|text| number(text, u32::MAX)) {
            self.asks.max_connections = Some(most);
            return true;
        }
        let weight = word.strip_prefix("weight:");
        let share = match (weight.unwrap_or(word).strip_suffix('%'), weight) {
            (Some(percent), _) => number(percent, MAX_PERCENT).map(|percent| Share::Part(f64::from(percent) / 100.0)),
            (None, Some(weight)) => number(weight, MAX_WEIGHT).map(Share::Weight),
            (None, None) => None,
        };
        self.asks.share = share.or(self.asks.share);
        share.is_some()
    }
}

/// A whole number without a sign.
fn number(text: &str, most: u32) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= most)
}

impl Page for Line<'_> {
    fn word(&self) -> Option<&str> {
        self.word
    }

    fn comment(&self) -> Option<&str> {
        self.comment
    }

    fn asks(&self) -> Asks {
        self.asks
    }

    fn lookup(&self, place: &str, _: Fold) -> Lookup {
        let mut found = Lookup::Missing;
        self.visit(&mut |number| {
            if number.path == place {
                found = Lookup::Number { value: number.value, key: place.to_owned(), unit: None };
            }
            true
        });
        found
    }

    fn visit(&self, see: &mut dyn FnMut(Number<'_>) -> bool) {
        let share = match self.asks.share {
            Some(Share::Part(part)) => Some(("weight_ratio", part)),
            Some(Share::Weight(weight)) => Some(("weight", f64::from(weight))),
            Some(Share::Capacity(_)) | None => None,
        };
        let most = self.asks.max_connections.map(|most| ("maxconn", f64::from(most)));
        for (name, value) in most.into_iter().chain(share) {
            if !see(Number { path: name, name, value }) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(share: Option<Share>, wish: Option<Wish>, max_connections: Option<u32>) -> Asks {
        Asks { share, wish, max_connections }
    }

    #[test]
    fn lines() {
        let check = |text: &str, word: Option<&str>, comment: Option<&str>, wanted: Asks| {
            let line = Line::parse(text).unwrap();
            assert_eq!((line.word, line.comment, line.asks), (word, comment, wanted), "{text:?}");
        };
        let part = |part: f64| Some(Share::Part(part));
        check("up ready 75% maxconn:30\n", Some("up"), None, asks(part(0.75), Some(Wish::Ready), Some(30)));
        check("down #db gone\r\n", Some("down"), Some("db gone"), Asks::default());
        check("down#db gone", Some("down"), Some("db gone"), Asks::default());
        check("maxconn:30,UP\t75%", Some("UP"), None, asks(part(0.75), None, Some(30)));
        check("75%", None, None, asks(part(0.75), None, None));
        check("0%", None, None, asks(part(0.0), None, None));
        check("weight:75%", None, None, asks(part(0.75), None, None));
        check("weight:30", None, None, asks(Some(Share::Weight(30)), None, None));
        check("drain", None, None, asks(None, Some(Wish::Drain), None));
        check("maint # till noon\nup", None, Some("till noon"), asks(None, Some(Wish::Maintenance), None));
        check("stopped", Some("stopped"), None, Asks::default());
        check("FAIL", Some("FAIL"), None, Asks::default());
        check("down up", Some("up"), None, Asks::default());
        check("up well", Some("up"), None, Asks::default());
        check("up -5% maxconn:x weight:257", Some("up"), None, Asks::default());
    }

    #[test]
    fn what_no_agent_says() {
        for bad in [
            "",
            "\n",
            "\nup",
            "#up",
            "hello",
            "HTTP/1.1 400 Bad Request",
            "75",
            "%",
            "-5%",
            "7.5%",
            "+5%",
            "maxconn:",
            "maxconn:-1",
            "weight:257",
            "weight:",
            "25601%",
            "99999999999%",
            "upp",
            "up%",
            "SSH-2.0-OpenSSH_9.2",
            "\u{0}\u{0}",
        ] {
            assert!(Line::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Line::parse(&"up ".repeat(342)).is_err(), "too long");
        assert!(Line::parse(&format!("up\n{}", "x".repeat(5000))).is_ok(), "only the first line counts");
        assert!(!Line::parse("up well").unwrap().all_known);
        assert!(Line::parse("up, ready").unwrap().all_known);
    }
}
