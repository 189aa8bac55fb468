//! Who may ask the admin interface, and who may not.

use crate::support::{Kind, Proxy, Service, ask, get, one_listener};

#[test]
fn pages_from_elsewhere_can_neither_read_nor_change() {
    let service = Service::start(Kind::Nginx);
    let name = service.name();
    let proxy = Proxy::start(&one_listener(&format!("clusters: [{{ name: app, endpoints: [{name}] }}]\n")));
    let admin = proxy.admin();
    let order = format!("/api/v1/clusters/app/endpoints/{name}/maintenance");
    let status = |line: &str, headers: &str| ask(admin, &format!("{line} HTTP/1.1\r\n{headers}\r\n")).unwrap().status;
    let post = |headers: &str| status(&format!("POST {order}"), &format!("{headers}Content-Length: 0\r\n"));

    assert_eq!(status("GET /api/v1/status", "Host: evil.example.com\r\n"), 403);
    assert_eq!(status("GET /metrics", "Host: evil.example.com\r\n"), 403);
    assert_eq!(post("Host: evil.example.com\r\n"), 403);
    assert_eq!(post(&format!("Host: {admin}\r\nOrigin: https://evil.example.com\r\n")), 403);
    assert_eq!(post(&format!("Host: {admin}\r\nOrigin: null\r\n")), 403);
    assert_eq!(status(&format!("GET {order}"), &format!("Host: {admin}\r\n")), 405);
    assert_eq!(proxy.endpoint(&name)["state"], "healthy", "none of them changed anything");
    assert_eq!(post(&format!("Host: {admin}\r\nOrigin: http://{admin}\r\n")), 200);
    assert_eq!(proxy.endpoint(&name)["state"], "maintenance");
}

#[test]
fn with_a_token_file_nobody_asks_without_the_token() {
    let service = Service::start(Kind::Nginx);
    let name = service.name();
    let tokens = crate::support::Folder::new();
    tokens.write("token", "s3cret\n");
    tokens.write("other", "other\n");
    let (token, other) = (tokens.file("token"), tokens.file("other"));
    let config = one_listener(&format!("clusters: [{{ name: app, endpoints: [{name}] }}]\n"));
    let proxy = Proxy::start(&config.replace("ADMIN }", &format!("ADMIN, token_file: {token} }}")));
    for open in ["/livez", "/readyz"] {
        assert_eq!(get(proxy.admin(), open).unwrap().status, 200, "{open}");
    }
    for closed in ["/metrics", "/api/v1/status", "/api/v1/config", "/"] {
        let answer = get(proxy.admin(), closed).unwrap();
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{closed}");
    }
    let refused = proxy.run(&["status"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("401") && refused.err.contains("--token-file"), "{}", refused.err);
    assert_eq!(proxy.run(&["status", "--token-file", &other]).code, Some(1));
    assert!(proxy.succeed(&["--token-file", &token, "status"]).contains(&name));
    assert_eq!(proxy.run(&["drain", "app", &name]).code, Some(1));
    assert_eq!(proxy.succeed(&["drain", "app", &name, "--token-file", &token]), format!("app {name} is draining\n"));
    assert_eq!(proxy.succeed(&["health"]), "ready\n", "needs none");
}
