//! The program as its users start it: what it prints where, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod program;
mod running;

use std::process::Stdio;

use program::{File, err, nobody, out, pulsegate, run};

const GOOD: &str = "\
listeners:
  - address: 127.0.0.1:8080
    cluster: app
clusters:
  - name: app
    endpoints: [127.0.0.1:9001, 127.0.0.1:9002]
    health: { path: /health }
";

#[test]
fn a_valid_configuration_is_said_to_be_so() {
    let file = File::new("good", GOOD);
    let output = run(&["validate", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), format!("{}: valid: 1 listener, 1 cluster, 2 endpoints\n", file.path()));
}

#[test]
fn six_mistakes_are_six_located_problems() {
    let text = "\
listeners:
  - address: 127.0.0.1
    cluster: app
  - address: 127.0.0.1:8081
    cluster: nobody
clusters:
  - name: app
    endpoints: [127.0.0.1:9001, 127.0.0.1:9001]
    ballance: round_robin
    connect_timeout: 5
    health:
      path: /health
      fall: 0
";
    let file = File::new("bad", text);
    let output = run(&["validate", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let said = out(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.last(), Some(&"6 problems"), "{said}");
    let at = |line: usize, what: &str| {
        let prefix = format!("{}:{line}:", file.path());
        let found = lines.iter().find_map(|text| text.strip_prefix(&prefix)).unwrap_or_else(|| panic!("line {line}: {said}"));
        let column: String = found.chars().take_while(char::is_ascii_digit).collect();
        assert!(column.parse::<usize>().is_ok_and(|column| column > 1), "{found}");
        assert!(found.contains(what), "{found} has {what}");
    };
    at(2, "127.0.0.1");
    at(5, "nobody");
    at(8, "127.0.0.1:9001");
    at(9, "balance");
    at(10, "5");
    at(13, "0");
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let output = run(&["validate", "-c", "/nowhere/pulsegate.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).starts_with("/nowhere/pulsegate.yaml: "), "{}", out(&output));
}

#[test]
fn a_plan_tells_what_a_configuration_promises() {
    let text = GOOD.replace("{ path: /health }", "{ path: /health, interval: 500ms, timeout: 200ms, panic: 0% }");
    let file = File::new("planned", &text);
    let output = run(&["plan", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let said = out(&output);
    for wanted in ["app: 2 endpoints, 1 probe", "refused", "hung", "wrong answers", "5% loss", "1 of 2", "probes"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let arguments = ["plan", "--json", "--loss", "5%", "--proxies", "3", "--rate", "2000", "--rtt", "2ms", "-c", file.path()];
    let plan: serde_json::Value = serde_json::from_str(&out(&run(&arguments))).unwrap();
    let app = &plan["clusters"][0];
    let hung = &app["detection"]["hung"];
    assert!((hung["worst"].as_f64().unwrap() - (0.55 + 2.0 * 0.275 + 0.2)).abs() < 1e-9 || hung["by"] == "traffic", "{hung}");
    assert_eq!(app["detection"]["refused"]["by"], "traffic");
    assert_eq!((app["cost"]["probes_per_second"].as_f64(), app["false_ejections"].as_array().unwrap().len()), (Some(12.0), 1));
    assert_eq!(run(&["plan", "--loss", "5", "-c", file.path()]).status.code(), Some(2));
    assert_eq!(run(&["plan", "-c", "/nowhere.yaml"]).status.code(), Some(1));
}

#[test]
fn a_simulation_tells_what_each_fault_costs() {
    let file = File::new("simulated", GOOD);
    let arguments = ["simulate", "-c", file.path(), "--seeds", "1", "--for", "2s", "--rate", "50"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for wanted in ["1 life of each fault in the lan", "app", "one hangs", "1 of 1", "false ejections"] {
        assert!(out(&output).contains(wanted), "{wanted}: {}", out(&output));
    }
    assert_eq!(out(&run(&arguments)), out(&output), "a seed gives the same life");
    let named = run(&[&arguments[..], &["--json", "--world", "cloud", "--fault", "hung,none"]].concat());
    let outcomes: serde_json::Value = serde_json::from_str(&out(&named)).unwrap();
    let outcomes = outcomes["outcomes"].as_array().unwrap();
    assert_eq!((outcomes.len(), &outcomes[0]["fault"], &outcomes[0]["found"]), (2, &"hung".into(), &1.into()));
    for wrong in [["--fault", "flu"], ["--seeds", "0"], ["--rate", "0"], ["--world", "moon"], ["--for", "0s"]] {
        assert_eq!(run(&[&["simulate", "-c", file.path()], &wrong[..]].concat()).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(run(&["simulate", "-c", "/nowhere.yaml"]).status.code(), Some(1));
}

#[test]
fn a_simulation_says_what_it_cannot_tell() {
    let found = File::new("found", &GOOD.replace("endpoints: [127.0.0.1:9001, 127.0.0.1:9002]", "discovery: { dns: app:80 }"));
    let output = run(&["simulate", "-c", found.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("no cluster has endpoints of its own"), "{}", out(&output));
    let seldom = File::new("seldom", &GOOD.replace("path: /health", "path: /health, interval: 60s"));
    let arguments = ["simulate", "--seeds", "1", "--for", "1s", "--rate", "1e-300", "--fault", "wrong", "-c", seldom.path()];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("not in 1s") && out(&output).contains("0 of 0"), "{}", out(&output));
}

#[test]
fn the_schema_is_json() {
    let output = run(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert!(schema["properties"]["clusters"].is_object());
}

#[test]
fn shells_are_completed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        for word in ["validate", "explain", "token-file"] {
            assert!(out(&output).contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&["completions", "cobol"]).status.code(), Some(2));
}

#[test]
fn help_names_every_subcommand_and_each_has_its_own() {
    let help = out(&run(&["--help"]));
    let commands = [
        "run",
        "demo",
        "validate",
        "plan",
        "simulate",
        "status",
        "explain",
        "probe",
        "drain",
        "maintenance",
        "ready",
        "reload",
        "events",
        "schema",
        "completions",
        "health",
    ];
    for command in commands {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
        let output = run(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(out(&output).contains("--admin <URL>"), "{command}");
        assert!(err(&output).is_empty(), "{command}");
    }
    assert_eq!(out(&run(&["--version"])), format!("pulsegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn usage_errors_exit_with_2() {
    let check = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{arguments:?}");
    };
    check(&[]);
    check(&["serve"]);
    check(&["explain", "app"]);
    check(&["drain", "app", "127.0.0.1:1", "--for", "5"]);
    check(&["status", "--admin", "127.0.0.1:9900"]);
    check(&["--admin", "https://127.0.0.1:9900", "status"]);
    check(&["run", "-c", "a.yaml", "--listen", ":8080", "--to", "127.0.0.1:1"]);
    check(&["run", "--listen", ":8080"]);
    check(&["run", "--health", "/health"]);
    check(&["demo", "--for", "1s"]);
}

#[test]
fn nobody_at_the_admin_address_is_told_in_one_line() {
    let (_bound, admin) = nobody();
    let commands: [&[&str]; 6] = [
        &["status"],
        &["explain", "app", "127.0.0.1:1"],
        &["ready", "app", "127.0.0.1:1"],
        &["reload", "--dry-run"],
        &["events"],
        &["health"],
    ];
    for command in commands {
        let after = run(&[command, &["--admin", &admin]].concat());
        let before = run(&[&["--admin", &admin], command].concat());
        let env = pulsegate(command).env("PULSEGATE_ADMIN", &admin).output().unwrap();
        for output in [after, before, env] {
            assert_eq!(output.status.code(), Some(1), "{command:?}");
            assert!(out(&output).is_empty());
            let said = err(&output);
            assert!(said.starts_with(&format!("pulsegate: {admin}: nobody listens there")), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn a_token_file_that_is_no_good_is_told() {
    let (empty, two) = (File::new("empty", "\n"), File::new("two", "a b\n"));
    for (file, what) in [("/nowhere/token", "No such file"), (empty.path(), "empty"), (two.path(), "no single token")] {
        let output = run(&["status", "--token-file", file]);
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).starts_with(&format!("pulsegate: --token-file {file}: ")), "{}", err(&output));
        assert!(err(&output).contains(what), "{}", err(&output));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for command in [&["schema"][..], &["completions", "bash"], &["--help"]] {
        let mut child = pulsegate(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{command:?}");
    }
}

#[test]
fn a_probe_of_a_url_tells_what_it_found() {
    let (_bound, url) = nobody();
    let output = run(&["probe", &format!("{url}/health")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("probe_refused"), "{}", out(&output));
    let secure = url.replace("http://", "https://");
    let output = run(&["probe", &format!("{secure}/health")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("probe_refused"), "{}", out(&output));
    let output = run(&["probe", "ftp://127.0.0.1/"]);
    assert_eq!((output.status.code(), out(&output)), (Some(1), String::new()));
    assert!(err(&output).contains("http"), "{}", err(&output));
}

#[test]
fn a_probe_of_a_cluster_asks_every_endpoint_of_it() {
    let ((_first, a), (_second, b)) = (nobody(), nobody());
    let text = GOOD.replace("127.0.0.1:9001", &a["http://".len()..]).replace("127.0.0.1:9002", &b["http://".len()..]);
    let file = File::new("probed", &text);
    let output = run(&["probe", "app", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output).matches("probe_refused").count(), 2, "{}", out(&output));
    let output = run(&["probe", "apq", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no cluster is named apq; there is app"), "{}", err(&output));
}
