//! Whole processes in this one, over real sockets.

use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cluster::Phase;
use crate::config::{self, Config};
use crate::control::ReloadOutcome;
use crate::health::signal::OperatorState;

fn parse(text: &str) -> Config {
    let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    config::from_text(text, "test", Path::new(""), &|_| None, &no_file).unwrap_or_else(|problems| panic!("{problems}"))
}

fn text(listen: &str, cluster: &str) -> String {
    format!(
        "admin: {{ address: 127.0.0.1:0 }}\nworkers: 2\ndrain_timeout: 5s\n\
         listeners: [{{ name: web, address: \"{listen}\", cluster: app }}]\nclusters: [{{ name: app, {cluster} }}]\n"
    )
}

/// An endpoint that answers every request with its name, and closes.
async fn endpoint(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(task::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(task::spawn(async move {
                let mut head = [0; 1024];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len());
                if read > 0 {
                    drop(stream.write_all(answer.as_bytes()).await);
                }
            }));
        }
    }));
    address
}

/// One request on a connection of its own, and the whole answer.
async fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn up(text: &str, source: Option<PathBuf>) -> Running {
    start_in_process(Options { config: parse(text), source }).await.unwrap()
}

fn run<F: Future>(test: F) -> F::Output {
    thread::block_on(test).unwrap()
}

#[test]
fn it_serves_when_it_says_so_and_finishes_what_it_has() {
    run(async {
        let endpoint = endpoint("one").await;
        let running = up(&text("127.0.0.1:0", &format!("endpoints: ['{endpoint}'], health: {{ path: / }}")), None).await;
        let address = running.listeners[0].address.ip().unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(running.handle.live().phase(), Phase::Ready);
        assert!(get(address).await.ends_with("\r\n\r\none"));
        let live = std::sync::Arc::clone(running.handle.live());
        running.drain(pending()).await;
        assert_eq!(live.phase(), Phase::Stopped);
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_connection_that_is_kept_is_told_to_close_while_draining() {
    run(async {
        let endpoint = endpoint("one").await;
        let running = up(&text("127.0.0.1:0", &format!("endpoints: ['{endpoint}']")), None).await;
        let mut stream = TcpStream::connect(running.listeners[0].address.ip().unwrap()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase().contains("connection: close"));
        let live = std::sync::Arc::clone(running.handle.live());
        let drained = task::spawn(running.drain(pending()));
        while live.phase() != Phase::Draining {
            tokio::task::yield_now().await;
        }
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");
        drained.await.unwrap();
    });
}

#[test]
fn a_second_word_ends_at_once() {
    run(async {
        let running = up(&text("127.0.0.1:0", "endpoints: [127.0.0.1:1]"), None).await;
        // A head that never ends holds its connection until it is cut off.
        let mut stream = TcpStream::connect(running.listeners[0].address.ip().unwrap()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        running.drain(async {}).await;
    });
}

#[test]
fn a_clash_is_found_before_anything_is_started() {
    run(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let config = parse(&text(&address, "endpoints: [127.0.0.1:1]"));
        let fatal = start_in_process(Options { config, source: None }).await.map(drop).unwrap_err();
        let wanted = format!("listener web cannot listen on {address}: the address is in use by another process or listener");
        assert_eq!(fatal.to_string(), wanted);
    });
}

#[test]
fn a_reload_brings_the_file_into_force_or_says_why_not() {
    run(async {
        let (one, two) = (endpoint("one").await, endpoint("two").await);
        let file = std::env::temp_dir().join(format!("pulsegate-reload-{}.yaml", std::process::id()));
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let with = |endpoint: SocketAddr| text("127.0.0.1:0", &format!("endpoints: ['{endpoint}'], health: {{ path: / }}"));
        let running = up(&with(one), Some(file.clone())).await;
        let (handle, address) = (running.handle.clone(), running.listeners[0].address.ip().unwrap());

        write(&with(two));
        assert!(matches!(handle.reload_dry_run().await, ReloadOutcome::Applied { changes } if !changes.is_empty()));
        assert!(get(address).await.ends_with("one"), "a dry run changes nothing");
        assert!(matches!(handle.reload().await, ReloadOutcome::Applied { changes } if !changes.is_empty()));
        assert!(get(address).await.ends_with("two"), "the next request sees it");
        assert_eq!(handle.reload().await, ReloadOutcome::Applied { changes: Vec::new() });

        write("clusters: 7");
        assert!(matches!(handle.reload().await, ReloadOutcome::Refused { problems } if !problems.is_empty()));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        write(&with(two).replace("\"127.0.0.1:0\"", &taken.local_addr().unwrap().to_string()));
        let refused = handle.reload().await;
        assert!(matches!(&refused, ReloadOutcome::Refused { problems } if problems[0].contains("listener web")), "{refused:?}");
        assert!(get(address).await.ends_with("two"), "nothing has changed");
        std::fs::remove_file(&file).unwrap();
        running.end().await;
    });
}

#[test]
fn orders_are_carried_out_before_they_are_answered() {
    run(async {
        let endpoint = endpoint("one").await;
        let running = up(&text("127.0.0.1:0", &format!("endpoints: ['{endpoint}']")), None).await;
        let (handle, address) = (running.handle.clone(), running.listeners[0].address.ip().unwrap());
        let name = endpoint.to_string();
        handle.operate("app", Some(&name), OperatorState::Maintenance, None, Some("disk".to_owned())).await.unwrap();
        assert!(get(address).await.starts_with("HTTP/1.1 503"));
        handle.operate("app", Some(&name), OperatorState::Ready, None, None).await.unwrap();
        assert!(get(address).await.starts_with("HTTP/1.1 200"));
        assert!(handle.operate("app", Some("nobody:1"), OperatorState::Ready, None, None).await.is_err());
        assert!(handle.history("app", &name).await.is_some_and(|history| !history.is_empty()));
        assert_eq!(handle.history("app", "nobody:1").await, None);
        let no_file = handle.reload().await;
        assert!(matches!(no_file, ReloadOutcome::Refused { problems } if problems[0].contains("command line")));
        running.end().await;
        assert!(handle.operate("app", Some(&name), OperatorState::Ready, None, None).await.is_err(), "control has stopped");
    });
}
