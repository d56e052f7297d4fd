//! Secrets that must not be seen, and everything that the process writes: its
//! log at every level, records, files of plugins, what clients and
//! administrators are answered, what `check` prints. Each way in which an exchange can fail is taken, with
//! upstreams that send back what they were sent.

mod ways;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use palisade_tests::{Answer, Capture, Palisade, guest, program};
use serde_json::json;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use self::ways::ways;
use crate::client::{CHAT, Got, MESSAGES, chat, messages, send, streamed};
use crate::log::{CANARY, canaries, listen, logged, shows_canary};

/// A provider for each way to place a credential, and one that is `upstream`'s
/// only in name: nobody is there.
fn manifest(upstream: &str, outspoken: &str) -> String {
    let mut manifest = format!(
        r#"
        [server]
        max-response-body = "64KiB"
        [admin]
        listen = "unix:admin.sock"
        [keys.team]
        file = "key"
        [credentials.key]
        file = "key"
        hosts = ["127.0.0.1"]
        [plugins.spy]
        source = "{}"
        output = "spy.out"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        "#,
        guest("spy").display()
    );
    adapters(&mut manifest, upstream, outspoken);
    direct(&mut manifest, upstream);
    manifest
}

/// Routes with an adapter.
fn adapters(manifest: &mut String, upstream: &str, outspoken: &str) {
    for (name, adapter, base, config) in [
        ("bearer", "openai", upstream, ""),
        (
            "header",
            "openai",
            upstream,
            "credential-kind = { header = \"x-secret\" }",
        ),
        (
            "query",
            "openai",
            upstream,
            "credential-kind = { query = \"key\" }",
        ),
        ("anthropic", "anthropic", upstream, ""),
        ("cerebras", "cerebras", upstream, ""),
        (
            "gone",
            "openai",
            "http://127.0.0.1:1",
            "credential-kind = { query = \"key\" }",
        ),
        (
            "tls",
            "openai",
            outspoken,
            "credential-kind = { query = \"key\" }",
        ),
    ] {
        manifest.push_str(&format!(
            r#"
            [plugins.{name}]
            source = "builtin:provider-{adapter}"
            upstream = "{base}/v1"
            credential = "key"
            config = {{ {config} }}
            [[routes]]
            name = "{name}"
            match = {{ model = "{name}" }}
            filters = ["spy"]
            provider = "{name}"
            loggers = ["log"]
            first-byte-timeout = "300ms"
            idle-timeout = "300ms"
            "#
        ));
    }
}

/// Routes that need none.
fn direct(manifest: &mut String, upstream: &str) {
    for (name, base, kind) in [
        ("direct", upstream, "\"bearer\""),
        ("direct-query", upstream, "{ query = \"key\" }"),
        ("direct-gone", "http://127.0.0.1:1", "{ query = \"key\" }"),
    ] {
        manifest.push_str(&format!(
            r#"
            [[routes]]
            name = "{name}"
            match = {{ model = "{name}" }}
            filters = ["spy"]
            upstream = "{base}"
            credential = "key"
            credential-kind = {kind}
            loggers = ["log"]
            first-byte-timeout = "300ms"
            idle-timeout = "300ms"
            "#
        ));
    }
}

const PROVIDERS: [&str; 10] = [
    "bearer",
    "header",
    "query",
    "anthropic",
    "cerebras",
    "gone",
    "tls",
    "direct",
    "direct-query",
    "direct-gone",
];

/// A client that shows a redirect.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.build().unwrap()
}

/// A server that speaks plainly to whoever comes, TLS or not.
async fn outspoken() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    url
}

/// A request with a client's key, wherever SDKs put one.
fn request(
    url: &str,
    path: &str,
    provider: &str,
    stream: bool,
    place: usize,
) -> reqwest::RequestBuilder {
    let body = if path == CHAT {
        chat(provider, "hello")
    } else {
        messages(provider, "hello")
    };
    let body = if stream { streamed(body) } else { body };
    let encoded = CANARY.replace('/', "%2F").replace('+', "%2B");
    let query = if place == 2 {
        format!("?key={encoded}")
    } else {
        String::new()
    };
    let request = client().post(format!("{url}{path}{query}"));
    let request = match place {
        0 => request.header("authorization", format!("Bearer {CANARY}")),
        1 => request.header("x-api-key", CANARY),
        _ => request,
    };
    let ways = ["print", "note", "header"];
    request.header("x-spy", ways[place]).body(body.to_string())
}

fn hidden(what: &str, got: &Got) {
    let headers = format!("{:?}", got.headers);
    assert!(!shows_canary(&got.text), "{what}: {}", got.text);
    assert!(!shows_canary(&headers), "{what}: {headers}");
}

/// Every file that was written, but for the one that holds the secret.
fn written(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(written(&path));
        } else if path.is_file() && !path.ends_with("key") {
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}

async fn start(upstream: &str) -> Palisade {
    listen();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), CANARY).unwrap();
    let files = [("key", key.path().to_owned())];
    Palisade::with_files(&manifest(upstream, &outspoken().await), &files).await
}

/// Looks through what was written, when all records are there.
async fn nothing_shows(palisade: &mut Palisade, exchanges: usize) {
    let records = palisade.records(exchanges).await;
    assert_eq!(records.len(), exchanges, "{records:#?}");
    for told in ["status", "plugins"] {
        let (status, told) = palisade.ask("GET", told, "").await;
        assert_eq!(status, 200, "{told}");
        assert!(!shows_canary(&told.to_string()), "{told}");
    }
    let scraped = palisade.admin_request("GET", "/metrics").send().await;
    let told = scraped.unwrap().text().await.unwrap();
    assert!(told.contains("palisade_plugin_calls_total"), "{told}");
    assert!(!shows_canary(&told), "{told}");
    palisade.drain().await;
    let files = written(palisade.directory.path());
    assert!(files.iter().any(|(file, _)| file.ends_with("spy.out")));
    for (file, text) in files {
        assert!(!shows_canary(&text), "{file}: {text}");
    }
    let generation = palisade.live();
    let described = format!(
        "{generation:?} {:?} {:?}",
        generation.plugins, generation.routes
    );
    assert!(!shows_canary(&described), "{described}");
    assert_eq!(canaries(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_upstream_brings_a_key_to_light() {
    for (what, answer) in ways() {
        let upstream = Capture::answering(answer).await;
        let mut palisade = start(&upstream.url).await;
        let mut exchanges = 0;
        for provider in PROVIDERS {
            for (place, (path, stream)) in [(CHAT, false), (CHAT, true), (MESSAGES, true)]
                .into_iter()
                .enumerate()
            {
                let sent = request(&palisade.url, path, provider, stream, place);
                let got = send(sent).await;
                exchanges += 1;
                hidden(&format!("{what}, {provider}, {path}"), &got);
            }
        }
        // What was sent did hold the key, or nothing has been tried.
        let sent = upstream.requests();
        let showing = sent.iter().filter(|request| shows_canary(&request.head));
        assert_eq!(showing.count(), 21, "{what}");
        for request in sent {
            let spied = request.header("x-spied").unwrap_or_default();
            assert!(!shows_canary(spied), "{what}: {spied}");
            assert!(!shows_canary(&String::from_utf8_lossy(&request.body)));
        }
        nothing_shows(&mut palisade, exchanges).await;
    }
    assert!(logged(&["exchange ended"]).await, "the log was heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_of_a_request_brings_a_key_to_light() {
    let upstream =
        Capture::answering(|request| Answer::whole("200 OK", "text/plain", &request.head)).await;
    let mut palisade = start(&upstream.url).await;
    let client = client();
    let url = palisade.url.clone();
    let mut gots = Vec::new();
    // A plugin that tells what it knows in every other way.
    for how in ["deny", "problem", "panic"] {
        let sent = request(&url, CHAT, "bearer", false, 0).header("x-spy", how);
        let body = chat("bearer", &format!("my key is none of {how}"));
        gots.push(send(sent.header("x-spy-2", how).body(body.to_string())).await);
        let sent = client.post(format!("{url}{CHAT}?api_key=x"));
        let sent = sent.header("api-key", CANARY).header("x-spy", how);
        gots.push(send(sent.body(chat("query", "x").to_string())).await);
    }
    // Requests that go wrong before, or go past, every plugin.
    let with_key = |path: &str| {
        client
            .post(format!("{url}{path}"))
            .header("authorization", format!("Bearer {CANARY}"))
            .header("x-api-key", format!("wrong {CANARY}"))
            .header("cookie", format!("session={CANARY}"))
            .header("proxy-authorization", format!("Basic {CANARY}"))
    };
    gots.push(send(with_key(CHAT).body("{")).await);
    gots.push(send(with_key("/v1//x").body("{}")).await);
    gots.push(send(with_key(CHAT).body(chat("nobody's", "x").to_string())).await);
    gots.push(send(with_key("/v1/embeddings").body("{\"model\":\"bearer\"}")).await);
    gots.push(send(with_key("/v1/embeddings").body("{\"model\":\"query\"}")).await);
    let gzip = with_key(CHAT).header("content-encoding", "gzip");
    gots.push(send(gzip.body("x")).await);
    // A key that is none of ours may be one of somebody's.
    let wrong = client
        .post(format!("{url}{CHAT}"))
        .header("x-api-key", format!("{CANARY}x"));
    gots.push(send(wrong.body(chat("bearer", "x").to_string())).await);
    assert_eq!(gots.last().unwrap().status, 401);
    for got in &gots {
        hidden("a request", got);
    }
    nothing_shows(&mut palisade, gots.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_plugin_brings_a_key_to_light() {
    let upstream =
        Capture::answering(|request| Answer::whole("500 Oops", "text/plain", &request.head)).await;
    listen();
    let call =
        |url: &str, value: &str| json!({ "url": url, "headers": { "palisade-credential": value } });
    let secure = upstream.url.replace("http://", "https://");
    let calls = json!({ "calls": [
        call(&upstream.url, "key"),
        call(&upstream.url, "key; header=x-own"),
        call(&upstream.url, "other"),
        call(&secure, "key"),
        call("http://127.0.0.1:1", "key"),
        call("http://api.example", "key"),
    ] });
    let calls: toml::Value = serde_json::from_value(calls).unwrap();
    let manifest = format!(
        "[admin]\nlisten = \"unix:admin.sock\"\n\
         [credentials.key]\nfile = \"key\"\nhosts = [\"127.0.0.1\", \"api.example\"]\n\
         [plugins.caller]\nsource = \"{}\"\nconfig = {calls}\noutput = \"spy.out\"\n\
         limits = {{ time = \"10s\" }}\n\
         grants = [\"http:{}\", \"http:{secure}\", \"http:http://127.0.0.1:1\", \"http:http://api.example\", \"secret:key\"]\n\
         [plugins.echo]\nsource = \"builtin:provider-echo\"\n\
         [plugins.log]\nsource = \"builtin:logger\"\noutput = \"log.jsonl\"\n\
         [[routes]]\nname = \"all\"\nfilters = [\"caller\"]\nprovider = \"echo\"\nloggers = [\"log\"]\n",
        guest("caller").display(),
        upstream.url
    );
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), CANARY).unwrap();
    let files = [("key", key.path().to_owned())];
    let mut palisade = Palisade::with_files(&manifest, &files).await;
    let body = chat("m", "x").to_string();
    let got = send(
        reqwest::Client::new()
            .post(format!("{}{CHAT}", palisade.url))
            .body(body),
    )
    .await;
    assert_eq!(got.status, 200, "{}", got.text);
    let record = palisade.record(got.id()).await.expect("a record");
    assert!(
        record["notes"]["calls"]
            .as_str()
            .unwrap()
            .contains("Bearer ****"),
        "{record}"
    );
    assert_eq!(upstream.requests().len(), 2);
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| shows_canary(&request.head))
    );
    nothing_shows(&mut palisade, 1).await;
}

#[tokio::test]
async fn what_check_prints_shows_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    std::fs::write(directory.path().join("key"), CANARY).unwrap();
    let right = manifest("http://127.0.0.1:1", "https://127.0.0.1:1");
    let wrong = right.replace("hosts = [", "secret = \"x\"\nhosts = [");
    let unbound = right.replace("\"127.0.0.1\"]", "\"api.example\"]");
    for (manifest, is_well) in [(right, true), (wrong, false), (unbound, false)] {
        std::fs::write(&file, manifest).unwrap();
        let mut check = Command::new(program("palisade"));
        check
            .args(["check", "--config"])
            .arg(&file)
            .env("CANARY", CANARY);
        let output = check.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.success(), is_well, "{said}");
        assert!(!shows_canary(&said), "{said}");
    }
}

/// What a dying process would leave behind has its secrets in it.
#[tokio::test]
async fn a_gateway_that_dies_leaves_no_image_of_its_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let echo = "[server]\nlisten = \"127.0.0.1:0\"\n[plugins.echo]\nsource = \"builtin:provider-echo\"\n\
                [[routes]]\nname = \"all\"\nprovider = \"echo\"\n";
    std::fs::write(&file, echo).unwrap();
    let mut gateway = Command::new(program("palisade"))
        .arg("--config")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(gateway.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    assert!(line.contains("listening"), "{line}");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(&words[4..6], ["0", "0"], "{limits}");
}
