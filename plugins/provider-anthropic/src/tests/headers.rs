//! Header fields of requests.

use crate::config::Config;
use crate::headers::{Fields, Header, json, pass_through, version};

struct Client(&'static [(&'static str, &'static [u8])]);

impl Fields for Client {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let named = self.0.iter().filter(|(field, _)| *field == name);
        named.map(|(_, value)| value.to_vec()).collect()
    }
}

fn lines(headers: &[Header]) -> Vec<String> {
    let line = |(name, value): &Header| format!("{name}: {}", String::from_utf8_lossy(value));
    headers.iter().map(line).collect()
}

#[test]
fn a_client_without_any_gets_the_defaults() {
    let headers = json(&Client(&[]), &Config::default(), &[], false);
    let expected = [
        "content-type: application/json",
        "accept: application/json",
        "anthropic-version: 2023-06-01",
    ];
    assert_eq!(lines(&headers), expected);
    assert_eq!(
        lines(&pass_through(&Client(&[]), &Config::default())),
        expected[2..]
    );
}

#[test]
fn version_is_the_clients_and_betas_are_joined_once_each() {
    let client = Client(&[
        ("anthropic-version", b"2026-10-21"),
        ("anthropic-beta", b"a, b"),
        ("anthropic-beta", b"c,,a"),
        ("x-api-key", b"secret"),
        ("user-agent", b"x"),
    ]);
    let config = Config {
        betas: vec!["b".into(), "d".into()],
        ..Config::default()
    };
    assert_eq!(version(&client, &config), "2026-10-21");
    assert_eq!(
        lines(&json(&client, &config, &["e", "a"], true)),
        [
            "content-type: application/json",
            "accept: text/event-stream",
            "anthropic-version: 2026-10-21",
            "anthropic-beta: a,b,c,d,e",
        ]
    );
}

#[test]
fn what_is_passed_through_keeps_its_types() {
    let client = Client(&[
        ("accept", b"*/*"),
        ("content-type", b"multipart/form-data; boundary=\xfcx"),
        ("cookie", b"a=b"),
    ]);
    let headers = pass_through(&client, &Config::default());
    assert_eq!(
        headers[0],
        (
            "content-type".into(),
            b"multipart/form-data; boundary=\xfcx".to_vec()
        )
    );
    assert_eq!(
        lines(&headers)[1..],
        ["accept: */*", "anthropic-version: 2023-06-01"]
    );
}
