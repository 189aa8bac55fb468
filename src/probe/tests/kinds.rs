//! Probes that are not HTTP/1: an agent's line, a gRPC health service, a file; and addresses of ours to ask from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::endpoint::{Behaviour, Misbehaving, ok, refuses_connections};
use super::rig::{LONG, Rig, SHORT, http, often, run, spec, timing};
use crate::health::check::{Check, FileCheck, ProbeSpec};
use crate::health::serving::GrpcCheck;
use crate::health::signal::{Failure, Observation, ProbeResult};
use crate::report::{Asks, Share, Wish};
use crate::runtime::task::{self, Owned};

/// An agent that says one line after the other, the last for ever, and keeps its connections open.
async fn agent(lines: &'static [&'static str]) -> (SocketAddr, Owned) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Owned::spawn(async move {
        let mut open = Vec::new();
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(lines[turn.min(lines.len() - 1)].as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    (address, serving)
}

#[test]
fn the_line_of_an_agent_votes_and_asks() {
    run(async {
        let (address, _serving) = agent(&["up ready 50% maxconn:30\n", "down #db gone\r\n", "75%\n"]).await;
        let mut rig = Rig::start(address, vec![spec(Check::Agent, often(LONG))]);
        let run = rig.probed().await;
        assert_eq!((&run.result, &*run.excerpt), (&ProbeResult::Pass, "up ready 50% maxconn:30\\n"));
        let asks = Asks { share: Some(Share::Part(0.5)), wish: Some(Wish::Ready), max_connections: Some(30) };
        assert_eq!(rig.observation().await, Observation::Asks(asks));
        let down = ProbeResult::Fail(Failure::ReportStatus("down #db gone".to_owned()));
        assert_eq!(rig.result().await, down);
        assert_eq!(rig.result().await, down, "75% says nothing of health");
    });
}

#[test]
fn that_there_is_no_agent_is_void() {
    run(async {
        let nobody = refuses_connections().await;
        let (silent, _serving) = agent(&[""]).await;
        let (stranger, _serving) = agent(&["220 mail.example.com ESMTP\r\n"]).await;
        for (address, timeout) in [(nobody, LONG), (silent, SHORT), (stranger, LONG)] {
            let result = Rig::start(address, vec![spec(Check::Agent, timing(timeout))]).result().await;
            assert!(matches!(result, ProbeResult::Void(_)), "{result:?}");
        }
    });
}

#[test]
fn a_health_service_that_is_none() {
    run(async {
        let check = || Check::Grpc(GrpcCheck { service: "a".into(), unimplemented_passes: false });
        let result = Rig::start(refuses_connections().await, vec![spec(check(), timing(LONG))]).result().await;
        assert_eq!(result, ProbeResult::Fail(Failure::Refused));
        let old = Misbehaving::start(Behaviour::AnswersAndCloses(ok("hello"))).await;
        let result = Rig::start(old.address, vec![spec(check(), timing(LONG))]).result().await;
        assert!(matches!(result, ProbeResult::Fail(Failure::Error(_))), "{result:?}");
        let (silent, _serving) = agent(&[""]).await;
        let result = Rig::start(silent, vec![spec(check(), often(SHORT))]).decided().await;
        assert_eq!(result, ProbeResult::Fail(Failure::Timeout(SHORT)));
    });
}

#[test]
fn a_file_beats_by_changing() {
    run(async {
        let folder = std::env::temp_dir().join(format!("pulsegate-beat-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let address = refuses_connections().await;
        let file = folder.join(format!("{}-{}", address.ip(), address.port()));
        let check = FileCheck { path: folder.join("{host}-{port}").to_string_lossy().into(), max_age: LONG };
        let mut rig = Rig::start(address, vec![spec(Check::File(check), timing(LONG))]);
        assert!(matches!(rig.result().await, ProbeResult::Fail(Failure::Error(why)) if why.contains("there is no file")));
        std::fs::write(&file, "beat").unwrap();
        rig.probing.probe_now();
        assert_eq!(rig.result().await, ProbeResult::Pass);
        let stale = FileCheck { path: file.to_string_lossy().into(), max_age: Duration::from_millis(1) };
        let mut rig = Rig::start(address, vec![spec(Check::File(stale), often(LONG))]);
        while rig.result().await == ProbeResult::Pass {}
        std::fs::remove_dir_all(folder).unwrap();
    });
}

#[test]
fn a_probe_may_come_from_another_address_of_ours() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let from = |source: [u8; 4]| Some(IpAddr::from(source));
        let probes = vec![ProbeSpec { source: from([127, 0, 0, 3]), ..spec(Check::Tcp, timing(LONG)) }];
        let accepted = task::spawn(async move { listener.accept().await.unwrap().1 });
        assert_eq!(Rig::start(address, probes).result().await, ProbeResult::Pass);
        assert_eq!(accepted.await.unwrap().ip(), IpAddr::from([127, 0, 0, 3]));
        let not_ours = vec![ProbeSpec { source: from([192, 0, 2, 1]), name: Arc::from("x"), ..http(timing(LONG)) }];
        let result = Rig::start(address, not_ours).result().await;
        assert!(matches!(result, ProbeResult::Void(_)), "{result:?}");
    });
}
