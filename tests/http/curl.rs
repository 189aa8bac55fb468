//! The curl of this system, and what it got.

use std::process::{Child, Command, Stdio};

use crate::wire::Message;

/// What became of a run of curl.
#[derive(Debug)]
pub(crate) struct Got {
    /// Its exit code: 0 if it is content, 52 for nothing, 18 for a part, 56 for a broken connection.
    pub(crate) exit: i32,
    /// The heads that came, interim ones included; what follows the last one as trailers is in `trailers`.
    pub(crate) heads: Vec<Message>,
    /// The body.
    pub(crate) body: String,
    /// Header lines after the body.
    pub(crate) trailers: Vec<(String, String)>,
    /// Everything else it said.
    pub(crate) said: String,
}

impl Got {
    /// The last head.
    pub(crate) fn head(&self) -> &Message {
        self.heads.last().unwrap_or_else(|| panic!("no answer: {self:?}"))
    }

    /// The last status.
    pub(crate) fn status(&self) -> u16 {
        self.head().status()
    }
}

/// A command that says nothing but what came, headers apart, and waits at most half a minute.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--max-time", "30"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs curl to its end.
pub(crate) fn curl(arguments: &[&str]) -> Got {
    let mut headed = vec!["--dump-header", "/dev/stderr"];
    headed.extend(arguments);
    let output = command(&headed).output().unwrap_or_else(|error| panic!("curl: {error}; tests/run installs it"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut got = Got {
        exit: output.status.code().unwrap_or(-1),
        heads: Vec::new(),
        body: String::from_utf8_lossy(&output.stdout).into_owned(),
        trailers: Vec::new(),
        said: String::new(),
    };
    let mut in_head = false;
    for line in stderr.lines().map(|line| line.trim_end_matches('\r')) {
        if line.starts_with("HTTP/") {
            got.heads.push(Message { first: line.to_owned(), ..Message::default() });
            in_head = true;
        } else if line.is_empty() {
            in_head = false;
        } else if let Some((name, value)) = line.split_once(": ").filter(|(name, _)| *name != "curl" && !name.contains(' ')) {
            let field = (name.to_ascii_lowercase(), value.to_owned());
            let fields = if in_head { &mut got.heads.last_mut().unwrap().fields } else { &mut got.trailers };
            fields.push(field);
        } else {
            got.said.push_str(line);
        }
    }
    got
}

/// A curl that runs beside the test, until this is dropped.
#[derive(Debug)]
pub(crate) struct Beside(pub(crate) Child);

impl Beside {
    /// Starts it, with a pipe to its standard input.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let child = command(arguments).stdin(Stdio::piped()).spawn();
        Self(child.unwrap_or_else(|error| panic!("curl: {error}; tests/run installs it")))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
