//! Every configuration that the repository shows loads, wherever it stands: files, documents, a ConfigMap. And what the
//! deployment files say of ports, names and times fits the configuration that they start.

use std::io;
use std::path::Path;
use std::time::Duration;

use pulsegate::config::{Config, from_text};
use serde_yaml::Value;

use crate::tree::{File, documents, files, root};

/// A configuration and where it stands.
#[derive(Debug)]
struct Shown {
    origin: String,
    text: String,
}

#[test]
fn every_configuration_loads() {
    let shown = configurations();
    for expected in ["README.md", "examples/tiny.yaml", "deploy/compose/", "deploy/systemd/", "deploy/kubernetes/"] {
        assert!(shown.iter().any(|one| one.origin.starts_with(expected)), "nothing found in {expected}");
    }
    for one in shown {
        loaded(&one);
    }
}

#[test]
fn examples_are_short_and_say_what_they_show() {
    for file in files("examples", &[".yaml"]) {
        assert!(file.text.starts_with("# "), "{}: line 1 says nothing", file.path);
        assert!(file.text.lines().count() <= 40, "{}: more than 40 lines", file.path);
    }
}

fn configurations() -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for file in files("examples", &[".yaml"]).into_iter().chain(files("deploy", &[".yaml"])) {
        for document in yaml_documents(&file) {
            if is_configuration(&document) {
                shown.push(Shown { origin: file.path.clone(), text: file.text.clone() });
            }
            if document["kind"] == "ConfigMap" {
                let text = document["data"]["pulsegate.yaml"].as_str().expect("a ConfigMap of ours has pulsegate.yaml");
                shown.push(Shown { origin: format!("{} (ConfigMap)", file.path), text: text.to_owned() });
            }
        }
    }
    for file in documents() {
        for (number, block) in file.text.split("```yaml\n").skip(1).enumerate() {
            let text = block.split("```").next().unwrap_or_default().to_owned();
            if serde_yaml::from_str::<Value>(&text).is_ok_and(|value| is_configuration(&value)) {
                shown.push(Shown { origin: format!("{} (block {})", file.path, number + 1), text });
            }
        }
    }
    shown
}

fn yaml_documents(file: &File) -> Vec<Value> {
    let read = |text: &str| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
    file.text.split("\n---\n").map(read).collect()
}

/// Prometheus, Compose and Kubernetes files have none of these.
fn is_configuration(document: &Value) -> bool {
    document["listeners"].is_sequence() || document["clusters"].is_sequence()
}

fn loaded(shown: &Shown) -> Config {
    let file = |path: &Path| match path.extension().and_then(|extension| extension.to_str()) {
        Some("crt") => Ok(certificate().0.clone()),
        Some("key") => Ok(certificate().1.clone()),
        Some("tokens") => Ok("a-token\n".to_owned()),
        Some("keys") => Ok("a key that is long enough\n".to_owned()),
        _ => Err(io::Error::other(format!("{} is not part of the repository", path.display()))),
    };
    let config = from_text(&shown.text, &shown.origin, &root(), &|_| None, &file);
    config.unwrap_or_else(|problems| panic!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>()))
}

/// A certificate and its key, which stand for all that are named.
fn certificate() -> &'static (String, String) {
    static MADE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["site.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

fn load(path: &str) -> Config {
    loaded(&Shown { origin: path.to_owned(), text: File::read(path).text })
}

#[test]
fn compose_starts_what_its_configuration_names() {
    let compose = &yaml_documents(&File::read("deploy/compose.yaml"))[0];
    let services = compose["services"].as_mapping().expect("services");
    let config = load("deploy/compose/pulsegate.yaml");
    for endpoint in config.clusters.iter().flat_map(|cluster| cluster.endpoints.iter()) {
        let address = endpoint.address.to_string();
        let (name, port) = address.rsplit_once(':').expect("name:port");
        let command = serde_yaml::to_string(&services[name]["command"]).unwrap();
        assert!(command.contains(&format!("0.0.0.0:{port}")), "{name} does not listen on {port}: {command}");
    }
    for (name, service) in services {
        for volume in service["volumes"].as_sequence().into_iter().flatten() {
            let from = volume.as_str().and_then(|v| v.split(':').next()).expect("from:to");
            assert!(root().join("deploy").join(from).exists(), "{name:?}: {from} does not exist");
        }
    }
    let scrape = &yaml_documents(&File::read("deploy/prometheus/prometheus.yaml"))[0]["scrape_configs"][0];
    let port = config.metrics.expect("a metrics listener").to_string().rsplit(':').next().map(str::to_owned).unwrap();
    let target = scrape["static_configs"][0]["targets"][0].as_str().unwrap();
    assert_eq!(target, format!("pulsegate:{port}"));
}

#[test]
fn the_sidecar_fits_its_configuration() {
    let file = File::read("deploy/kubernetes/sidecar.yaml");
    let documents = yaml_documents(&file);
    let text = documents[0]["data"]["pulsegate.yaml"].as_str().unwrap().to_owned();
    let config = loaded(&Shown { origin: file.path, text });
    let pod = &documents[1]["spec"]["template"]["spec"];
    let proxy = &pod["initContainers"][0];
    assert_eq!(proxy["restartPolicy"], "Always", "a sidecar");
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert_eq!(grace, 45);
    assert!(config.drain_delay + config.drain_timeout < Duration::from_secs(grace));
    let port = |name: &str| {
        let ports = proxy["ports"].as_sequence().unwrap();
        ports.iter().find(|port| port["name"] == name).and_then(|port| port["containerPort"].as_u64()).unwrap().to_string()
    };
    assert!(config.metrics.unwrap().to_string().ends_with(&format!(":{}", port("metrics"))));
    assert!(config.listeners[0].address.to_string().ends_with(&format!(":{}", port("http"))));
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(proxy[probe]["httpGet"]["port"], "metrics", "{probe}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(proxy["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(proxy["securityContext"]["capabilities"]["drop"][0], "ALL");
}

#[test]
fn the_unit_gives_a_drain_its_time() {
    let unit = File::read("deploy/systemd/pulsegate.service").text;
    let setting =
        |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("{key}"));
    let config = load("deploy/systemd/pulsegate.yaml");
    let stop: u64 = setting("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    assert!(config.drain_delay + config.drain_timeout < Duration::from_secs(stop));
    assert_eq!(setting("Type"), "exec");
    assert_eq!(setting("ExecReload"), "/bin/kill -HUP $MAINPID");
    for hardened in ["DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "MemoryDenyWriteExecute=yes"] {
        assert!(unit.lines().any(|line| line == hardened), "{hardened}");
    }
    for line in unit.lines().filter(|line| line.starts_with("ExecStart")) {
        assert!(line.ends_with("-c /etc/pulsegate/pulsegate.yaml"), "{line}");
    }
}
