//! Owns the reading of server-sent events: bytes in, whole events out.
//!
//! A stream is cut anywhere, so what is no whole line yet waits for the rest, up to a bound.

/// Longest event that is waited for, in bytes.
const MAX_EVENT: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Its id, to resume from.
    pub(super) id: Option<String>,
    /// Its name; empty if it has none.
    pub(super) name: String,
    /// Its data, lines joined by newlines.
    pub(super) data: String,
}

/// A stream of events as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pending: Vec<u8>,
    event: Event,
    has_data: bool,
}

/// An event is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Reader {
    /// Takes the next bytes and gives the events that they complete.
    ///
    /// # Errors
    /// If an event grows beyond its bound.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(length) = self.pending[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.pending[start..start + length]).into_owned();
            start += length + 1;
            events.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.pending.drain(..start);
        if self.pending.len() + self.event.data.len() > MAX_EVENT { Err(TooLong) } else { Ok(events) }
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => self.data(value),
            // Comments, which keep the connection alive, and fields that do not concern us.
            _ => {}
        }
        None
    }

    fn data(&mut self, value: &str) {
        if std::mem::replace(&mut self.has_data, true) {
            self.event.data.push('\n');
        }
        self.event.data.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn streams() {
        let check = |text: &str, wanted: &[Event]| assert_eq!(Reader::default().read(text.as_bytes()).unwrap(), wanted, "{text}");
        check("id: 7\nevent: transition\ndata: {}\n\n", &[event(Some("7"), "transition", "{}")]);
        check("data:a\r\ndata: b\r\n\r\ndata: c\n\n", &[event(None, "", "a\nb"), event(None, "", "c")]);
        check(": still there\n\nretry: 5\n\nid: 1\n\n", &[]);
        check("data: not whole\n", &[]);
        check("data\n\n", &[event(None, "", "")]);
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let mut reader = Reader::default();
        let events: Vec<Event> = "id: 1\ndata: é\n\n".as_bytes().chunks(1).flat_map(|b| reader.read(b).unwrap()).collect();
        assert_eq!(events, [event(Some("1"), "", "é")]);
    }

    #[test]
    fn an_event_without_end_is_not_waited_for() {
        let mut reader = Reader::default();
        let chunk = vec![b'x'; MAX_EVENT];
        assert_eq!(reader.read(&chunk), Ok(vec![]));
        assert_eq!(reader.read(b"x"), Err(TooLong));
    }
}
