//! The configuration as users meet it: whole files, good and bad, with every word of what is said about them.
//!
//! `tests/fixtures/config/good/*.yaml` must load and come to the `.json` beside them; `bad/*.yaml` must be refused with the
//! `.txt` beside them. `UPDATE=1 cargo test --test config` writes both anew.
#![cfg(test)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use pulsegate::config::{self, Config, Problems};
use pulsegate::traffic::policy::Action;

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The environment that the fixtures see.
fn variable(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9001".to_owned()),
        "SECRET" => Some("s3cret\u{1}value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// A certificate and its key, made once.
fn site() -> &'static (String, String) {
    static SITE: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    SITE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["site.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// The files that the fixtures can name, so that none of them depends on a disk.
fn file(path: &Path) -> io::Result<String> {
    let name = path.to_str().unwrap().replace('\\', "/");
    match name.strip_prefix("/etc/pulsegate/") {
        Some("admin.token") => Ok("  a-token\n".to_owned()),
        Some("empty.token") => Ok("\n".to_owned()),
        Some("route.keys") => Ok("the-key-in-use-0123456789\nthe-key-before-0123456789\n".to_owned()),
        Some("short.keys") => Ok("too-short\n".to_owned()),
        Some("beat.tokens") => Ok("# everybody\nfirst-token\n\nsecond-token 10.0.0.11:9000 [fd00::1]:9000\n".to_owned()),
        Some("twice.tokens") => Ok("one a:1\n# again\ntwo a:2\none a:2\none\n".to_owned()),
        Some("bad.tokens") => Ok("# nobody\nto\u{1}ken\ntok\u{e9}n a:1\n".to_owned()),
        Some("two.token") => Ok("one two\n".to_owned()),
        Some("site.crt" | "ca.crt") => Ok(site().0.clone()),
        Some("site.key") => Ok(site().1.clone()),
        Some("other.key") => Ok(rcgen::KeyPair::generate().unwrap().serialize_pem()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read(text: &str, name: &str) -> Result<Config, Problems> {
    config::from_text(text, name, Path::new("/etc/pulsegate"), &variable, &file)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Compares with what is pinned, or pins it anew.
fn pinned(path: &Path, told: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, told).unwrap();
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    if wanted == told { Ok(()) } else { Err(format!("{}\n--- pinned\n{wanted}\n--- told\n{told}", path.display())) }
}

fn all_well(results: impl IntoIterator<Item = Result<(), String>>) {
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn good_files_load_and_come_to_what_is_pinned() {
    all_well(fixtures("good").into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let config = read(&text, &name(&path)).map_err(|problems| problems.to_string())?;
        let told = serde_json::to_string_pretty(&config::to_json(&config)).unwrap() + "\n";
        pinned(&path.with_extension("json"), &told)
    }));
}

#[test]
fn bad_files_are_refused_with_every_word_that_is_pinned() {
    all_well(fixtures("bad").into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let problems = read(&text, &name(&path)).err().ok_or_else(|| format!("{} is accepted", path.display()))?;
        pinned(&path.with_extension("txt"), &format!("{problems}\n"))
    }));
}

#[test]
fn six_mistakes_are_six_located_problems() {
    let path = fixtures("bad").into_iter().find(|path| name(path) == "six-mistakes.yaml").unwrap();
    let problems = read(&fs::read_to_string(path).unwrap(), "six-mistakes.yaml").unwrap_err();
    assert_eq!(problems.count(), 6, "{problems}");
    assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0), "{problems}");
}

/// What is shown as the effective configuration can be written, and means the same.
#[test]
fn the_effective_configuration_reads_back_as_itself() {
    for path in fixtures("good") {
        let config = read(&fs::read_to_string(&path).unwrap(), "a.yaml").unwrap();
        // What came from a variable is text now.
        let shown = config::to_json(&config).to_string().replace("${", "$${");
        // A secret is not shown, and a probe's derived intervals have no key of their own.
        if shown.contains("(redacted)") || name(&path) == "own-intervals.yaml" {
            continue;
        }
        assert_eq!(read(&shown, "shown.yaml").map_err(|p| p.to_string()), Ok(config), "{}", path.display());
    }
}

#[test]
fn a_redirect_knows_the_port_of_the_first_listener_with_tls() {
    let port = |secured: &str| {
        let text = format!(
            "listeners:\n  - {{ address: ':8080', routes: [{{ redirect: https }}] }}\n{secured}\
             clusters: [{{ name: app, endpoints: [a:1] }}]\n"
        );
        read(&text, "a.yaml").unwrap().listeners[0].routes[0].action.clone()
    };
    let tls = |address: &str| format!("  - {{ address: '{address}', tls: {{ cert: site.crt, key: site.key }}, cluster: app }}\n");
    assert_eq!(port(""), Action::RedirectToHttps { port: None });
    assert_eq!(port(&tls(":443")), Action::RedirectToHttps { port: None });
    assert_eq!(port(&(tls(":8443") + &tls(":9443"))), Action::RedirectToHttps { port: Some(8443) });
    assert_eq!(port(&tls("unix:/run/secured.sock")), Action::RedirectToHttps { port: None });
}

#[test]
fn secrets_are_shown_nowhere() {
    let text = fs::read_to_string(fixtures("good").into_iter().find(|path| name(path) == "secrets.yaml").unwrap()).unwrap();
    let config = read(&text, "secrets.yaml").unwrap();
    for shown in [config::to_json(&config).to_string(), format!("{:?}", config.admin)] {
        assert!(!shown.contains("a-token") && !shown.contains("hush"), "{shown}");
    }
    for path in fixtures("bad") {
        let problems = read(&fs::read_to_string(&path).unwrap(), "a.yaml").unwrap_err().to_string();
        assert!(!problems.contains("s3cret") && !problems.contains("one two"), "{problems}");
    }
}

#[test]
fn a_file_on_disk_loads_with_paths_from_its_own_folder() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config-load");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("t"), "secret\n").unwrap();
    let file = folder.join("a.yaml");
    fs::write(&file, "admin: { address: ':0', token_file: t }\nclusters: [{ name: a, endpoints: [a:1] }]\n").unwrap();
    let loaded = config::load(&file).unwrap();
    assert_eq!(loaded.config.admin.token.map(|token| token.0.to_string()).as_deref(), Some("secret"));
    assert!(loaded.warnings.is_empty());
    let missing = config::load(&folder.join("missing.yaml")).unwrap_err();
    assert!(missing.to_string().contains("missing.yaml: (top): said a file that cannot be read"), "{missing}");
}

#[test]
fn what_is_allowed_and_not_meant_is_warned_of() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config-warn");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("a.yaml");
    let text = "\
listeners:
  - address: 127.0.0.1:0
    routes:
      - { cluster: a, timeout: 1s, retries: { per_try_timeout: 2s } }
      - { cluster: a, match: { path: /b } }
clusters:
  - { name: a, endpoints: [a:1], health: { path: /, interval: 500ms, timeout: 1s } }
";
    fs::write(&file, text).unwrap();
    let warnings = config::load(&file).unwrap().warnings;
    let told: Vec<_> = warnings.iter().map(|w| format!("{}:{} {}", w.line, w.column, w.path)).collect();
    assert_eq!(
        told,
        ["4:64 listeners[0].routes[0].retries.per_try_timeout", "5:9 listeners[0].routes[1]", "7:79 clusters[0].health.timeout",]
    );
}

#[test]
fn settings_that_defeat_themselves_are_warned_of_where_they_are_written() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config-defeats");
    fs::create_dir_all(&folder).unwrap();
    let told = |health: &str, retries: &str| {
        let file = folder.join("a.yaml");
        let text = format!(
            "listeners: [{{ address: '127.0.0.1:0', routes: [{{ cluster: a, retries: {retries} }}] }}]\n\
             clusters: [{{ name: a, endpoints: [a:1, b:1], health: {health} }}]\n"
        );
        fs::write(&file, text).unwrap();
        let warnings = config::load(&file).unwrap().warnings;
        assert!(warnings.iter().all(|w| w.line > 0 && w.hint.is_some()), "{warnings:?}");
        warnings.iter().filter_map(|w| w.path.rsplit('.').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    let retries = |retries: &str| told("{ path: / }", retries);
    let health = |health: &str| told(health, "{ attempts: 3 }");
    assert_eq!(health("{ path: /, timeout: 200ms }"), ["timeout"]);
    assert_eq!(health("{ path: /, timeout: 249ms, fall: 1 }"), ["timeout", "fall"]);
    assert_eq!(health("{ path: /, timeout: 250ms, fall: 2 }"), [""; 0]);
    assert_eq!(health("{ timeout: 100ms, probes: [{ tcp: {}, timeout: 300ms }] }"), [""; 0], "nobody uses it");
    assert_eq!(health("{ probes: [{ tcp: {}, timeout: 100ms }] }"), ["timeout"]);
    assert_eq!(health("{ require: any, probes: [{ tcp: {} }, { http: {} }] }"), ["require"]);
    assert_eq!(health("{ require: any, probes: [{ name: a, http: {} }, { http: {} }] }"), [""; 0]);
    assert_eq!(health("{ path: /, panic: 100%, max_ejected: 0% }"), ["panic", "max_ejected"]);
    assert_eq!(health("{ path: /, panic: 0% }"), [""; 0]);
    assert_eq!(health("{ path: /, panic: 51% }"), ["panic"], "half may be ejected where nothing is said of it");
    assert_eq!(health("{ path: /, panic: 50% }"), [""; 0]);
    assert_eq!(health("{ path: /, panic: 71%, max_ejected: 30% }"), ["panic"]);
    assert_eq!(health("{ path: /, panic: 70%, max_ejected: 30% }"), [""; 0]);
    assert_eq!(health("{ path: /, slow_start: { window: 11m, floor: 100% } }"), ["window", "floor"]);
    assert_eq!(health("{ path: /, slow_start: { window: 10m, floor: 99% } }"), [""; 0]);
    assert_eq!(health("{ path: /, interval: 1s, timeout: 1s }"), [""; 0]);
    assert_eq!(health("{ path: /, interval: 999ms }"), ["interval"], "the default time-out is longer");
    assert_eq!(health("{ path: /, silence: { min: 49ms }, outlier: { consecutive: 1 } }"), ["min", "consecutive"]);
    assert_eq!(health("{ path: /, silence: { min: 20ms, enforce: false }, outlier: { consecutive: 2 } }"), [""; 0]);
    assert_eq!(health("{ path: /, reference: ['c:1', 'b:1'] }"), ["reference"]);
    assert_eq!(health("{ path: /, reference: 'c:1' }"), [""; 0]);
    assert_eq!(health("{ path: /, report: { format: prometheus }, leader: {} }"), ["leader"]);
    assert_eq!(health("{ path: /, report: { format: spring }, leader: {} }"), [""; 0]);
    assert_eq!(retries("{ budget: 0% }"), ["budget"]);
    assert_eq!(retries("{ attempts: 1, when: [connect] }"), ["attempts"]);
    assert_eq!(retries("off"), [""; 0]);
}

#[test]
fn the_arguments_of_a_quick_start_are_named_in_problems() {
    let to = |all: &[&str]| all.iter().map(|to| (*to).to_owned()).collect::<Vec<_>>();
    let quick = config::quick(":8080", &to(&["a:3000", "b:3000"]), Some("/healthz")).unwrap();
    let same = "listeners: [{address: ':8080', cluster: app}]\nclusters: [{name: app, endpoints: [a:3000, b:3000], health: {path: /healthz}}]";
    let mut same = read(same, "a.yaml").unwrap();
    // A text has the spelling `:8080` too, so even the listener's name is the same.
    same.admin = quick.admin.clone();
    assert_eq!(quick, same);
    assert!(config::quick("127.0.0.1:0", &to(&["a:1"]), None).unwrap().clusters[0].probes.is_empty());
    let wrong = |listen, all: &[&str], health| config::quick(listen, &to(all), health).unwrap_err().to_string();
    let lines = wrong("8080", &[":3000", "b", "http://c:1"], Some("healthz"));
    let wanted = "\
command line: --listen: said \"8080\", wanted an address to listen on: ip:port, [ipv6]:port, :port for every interface, or unix:/path; did you mean \":8080\"?
command line: --to: said \":3000\", wanted an endpoint: ip:port, [ipv6]:port or name:port, port 1 to 65535, or unix:/path; did you mean \"127.0.0.1:3000\"?
command line: --to: said \"b\", wanted an endpoint: ip:port, [ipv6]:port or name:port, port 1 to 65535, or unix:/path; the port is missing
command line: --to: said \"http://c:1\", wanted an endpoint: ip:port, [ipv6]:port or name:port, port 1 to 65535, or unix:/path; did you mean \"c:1\"?
command line: --health: said \"healthz\", wanted a path that begins with a slash, such as /health; did you mean \"/healthz\"?";
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&lines), sorted(wanted));
    assert!(wrong(":1", &[], None).contains("--to: said an empty list"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let text = String::from_utf8_lossy(&bytes);
        drop(read(&text, "a.yaml"));
    }

    #[test]
    fn no_text_of_yaml_characters_makes_it_panic(text in "[-a-c0-9:,{}\\[\\]\"'#&*!|>%@`$ \n\t.?~]{0,200}") {
        drop(read(&text, "a.yaml"));
    }

    /// Good files with bytes changed get much deeper than random ones.
    #[test]
    fn no_slip_in_a_good_file_makes_it_panic(which in any::<prop::sample::Index>(), slips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let files = fixtures("good");
        let mut bytes = fs::read(which.get(&files)).unwrap();
        for (at, byte) in slips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(read(&String::from_utf8_lossy(&bytes), "a.yaml"));
    }
}
