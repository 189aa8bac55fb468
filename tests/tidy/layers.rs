//! The layers: a room names only rooms below it, and the lower rooms neither talk, wait, nor read a clock.
//!
//! Without this a decision soon reaches for a socket "just here", and can then no longer be tested without one.

use regex_lite::Regex;

use crate::tree::{File, code_of, files};

/// Every room from the bottom up. Rooms that share a line are siblings and never name each other.
const ORDER: &[&[&str]] = &[
    &["base"],
    &["report"],
    &["health"],
    &["balance"],
    &["traffic"],
    &["tls"],
    &["config"],
    &["sim"],
    &["telemetry"],
    &["runtime"],
    &["cluster"],
    &["net"],
    &["http1"],
    &["discovery", "probe", "heartbeat", "fleet", "proxy"],
    &["control"],
    &["admin"],
    &["sample"],
    &["server"],
    &["cli"],
];

/// Rooms that only decide: everything they need comes in as an argument.
const PURE: &[&str] = &["base", "report", "health", "balance", "traffic", "tls", "config", "sim"];

/// What a pure room has no business with.
const IMPURE: &str = r"\b(tokio\w*|hyper\w*|socket2|TcpStream|TcpListener|UdpSocket|UnixStream|UnixListener|Instant|SystemTime|thread|async|await|ToSocketAddrs)\b";

fn layer(room: &str) -> Option<usize> {
    ORDER.iter().position(|rooms| rooms.contains(&room))
}

/// The room that a path such as `src/health/probes.rs` stands in; none for `lib.rs` and `main.rs`.
fn room_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
}

/// The names that follow `crate::` or climb out of a room by `super::super::`, one level of braces included.
fn rooms_named(code: &str) -> Vec<String> {
    let path = Regex::new(r"\b(?:crate|pulsegate|super::super)\s*::\s*(?:\{([^;]*)\}\s*;|(\w+))").unwrap();
    let nested = Regex::new(r"\{[^{}]*\}").unwrap();
    let mut named = Vec::new();
    for found in path.captures_iter(code) {
        if let Some(single) = found.get(2) {
            named.push(single.as_str().to_owned());
        } else if let Some(list) = found.get(1) {
            let mut list = list.as_str().to_owned();
            while nested.is_match(&list) {
                list = nested.replace_all(&list, "").into_owned();
            }
            let first = |item: &str| item.split("::").next().unwrap_or_default().trim().to_owned();
            named.extend(list.split(',').map(first).filter(|name| !name.is_empty()));
        }
    }
    named
}

#[test]
fn every_room_has_its_place_in_the_order() {
    let maps = ["ARCHITECTURE.md", "src/lib.rs"].map(File::read);
    for file in files("src", &[".rs"]) {
        let Some(room) = room_of(&file.path) else { continue };
        assert!(layer(room).is_some(), "{}: put the room {room} into ORDER", file.path);
        for map in &maps {
            let listed = map.text.lines().any(|line| line.contains("| `") && line.contains(&format!("`{room}`")));
            assert!(listed, "{} lacks the room {room}", map.path);
        }
    }
}

#[test]
fn a_room_names_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for file in files("src", &[".rs"]) {
        let Some(room) = room_of(&file.path) else { continue };
        for named in rooms_named(&code_of(&file.text)) {
            let Some(below) = layer(&named) else { continue };
            if named != room && Some(below) >= layer(room) {
                wrong.push(format!("{}: {room} names {named}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_binary_names_the_command_line_alone() {
    for file in files("src", &["src/main.rs"]) {
        let named = rooms_named(&code_of(&file.text));
        assert!(named.iter().all(|room| room == "cli"), "main.rs names {named:?}");
    }
}

#[test]
fn pure_rooms_name_no_socket_thread_or_clock() {
    let impure = Regex::new(IMPURE).unwrap();
    let mut wrong = Vec::new();
    for file in files("src", &[".rs"]) {
        if !room_of(&file.path).is_some_and(|room| PURE.contains(&room)) {
            continue;
        }
        for (number, line) in code_of(&file.text).lines().enumerate() {
            if let Some(found) = impure.find(line) {
                wrong.push(format!("{}:{}: {}", file.path, number + 1, found.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_leave_files_to_one_place_in_config() {
    let reading = Regex::new(r"\b(?:fs\s*::\s*\w+|File\s*::\s*open)").unwrap();
    let mut reads = Vec::new();
    for file in files("src", &[".rs"]) {
        let code = code_of(before_tests(&file.text));
        if room_of(&file.path).is_some_and(|room| PURE.contains(&room)) && !file.is_test() && reading.is_match(&code) {
            reads.push(file.path);
        }
    }
    assert!(reads.len() <= 1 && reads.iter().all(|path| path.starts_with("src/config/")), "files are read in {reads:?}");
}

#[test]
fn what_clippy_forbids_is_allowed_in_the_runtime_alone() {
    for file in files("src", &[".rs"]) {
        let lifted = code_of(&file.text).contains("disallowed_methods");
        assert!(!lifted || room_of(&file.path) == Some("runtime"), "{} lifts a ban of clippy.toml", file.path);
    }
}

/// A source up to its tests.
pub(crate) fn before_tests(source: &str) -> &str {
    source.find("#[cfg(test)]\nmod ").map_or(source, |at| &source[..at])
}

#[test]
fn names_are_found_in_every_shape() {
    let check = |code: &str, wanted: &[&str]| assert_eq!(rooms_named(code), wanted, "{code}");
    check("use crate::base::time::Timestamp;", &["base"]);
    check("use crate::{base::time::{A, B}, health};", &["base", "health"]);
    check("fn f() { crate::proxy::run() }", &["proxy"]);
    check("use super::super::net::dial;", &["net"]);
    check("use super::sibling;", &[]);
    check("use pulsegate::cli;", &["cli"]);
    assert!(Regex::new(IMPURE).unwrap().is_match("std::thread::spawn"));
    assert!(!Regex::new(IMPURE).unwrap().is_match("per_thread Instants"));
}
