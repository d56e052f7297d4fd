//! Administration: what is told, what can be done, and who may.

use std::error::Error as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use palisade::admin::Listener;
use palisade::manifest::Admin;
use palisade_tests::{Palisade, guest, program};
use serde_json::{Value, json};

use crate::client::{CHAT, Got, chat, post_json};

const FILTER: &str = r#"
[plugins.guard]
source = "builtin:security-filter"
config = { forbidden-instructions = ["user:*forbidden*"] }
"#;

fn manifest(admin: &str) -> String {
    format!(
        r#"
        [server]
        settle = "20ms"
        [admin]
        listen = "{admin}"
        [plugins.echo]
        source = "builtin:provider-echo"
        {FILTER}
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        provider = "echo"
        filters = ["guard"]
        loggers = ["log"]
        "#
    )
}

async fn asked(palisade: &Palisade, text: &str) -> Got {
    post_json(&palisade.url, CHAT, &chat("m", text)).await
}

/// What someone at a Unix socket is called.
fn me() -> String {
    use std::os::unix::fs::MetadataExt;
    let mine = tempfile::NamedTempFile::new().unwrap();
    format!("uid {}", mine.as_file().metadata().unwrap().uid())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_a_rollback_and_a_dry_run_are_told_and_done() {
    let palisade = Palisade::start(&manifest("unix:admin.sock")).await;
    let (status, told) = palisade.ask("GET", "status", "").await;
    assert_eq!(status, 200);
    assert_eq!(told["live"]["generation"], 1);
    assert_eq!(told["live"]["reason"], "start");
    assert_eq!(told["history"], json!([]));
    let (status, told) = palisade.ask("POST", "rollback", "").await;
    assert_eq!(
        (status, told["error"]["message"].as_str()),
        (409, Some("there is no earlier generation"))
    );

    let (status, told) = palisade.ask("POST", "reload?dry-run=true", "").await;
    assert_eq!((status, &told["generation"]), (200, &Value::Null), "{told}");
    assert_eq!(palisade.generation(), 1, "a dry run swaps nothing");
    let (status, told) = palisade.ask("POST", "reload", "").await;
    assert_eq!((status, &told["generation"]), (200, &json!(2)), "{told}");
    let carried = json!({"name": "echo", "change": "carried over"});
    assert_eq!(told["plugins"][0], carried);

    let (status, told) = palisade.ask("POST", "rollback", "").await;
    assert_eq!((status, told), (200, json!({"generation": 1})));
    let (_, told) = palisade.ask("GET", "status", "").await;
    let live = &told["live"];
    assert_eq!(
        (&live["generation"], &live["reason"]),
        (&json!(1), &json!("rollback"))
    );
    assert_eq!(live["who"], me());
    assert_eq!(told["history"][0]["generation"], 2);
    assert_eq!(told["history"][0]["reason"], "admin");
    let (status, _) = palisade
        .ask("POST", "rollback", r#"{"generation": 2}"#)
        .await;
    assert_eq!((status, palisade.generation()), (200, 2));
    let (status, told) = palisade
        .ask("POST", "rollback", r#"{"generation": 7}"#)
        .await;
    assert_eq!(status, 404, "{told}");
    let (status, _) = palisade
        .ask("POST", "rollback", r#"{"generation": "x"}"#)
        .await;
    assert_eq!(status, 400);
    let (status, told) = palisade
        .ask("POST", "rollback", r#"{"generation": 2}"#)
        .await;
    assert_eq!(
        (status, told["error"]["message"].as_str()),
        (409, Some("generation 2 is the live one"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_fails_is_told_with_its_step() {
    let palisade = Palisade::start(&manifest("unix:admin.sock")).await;
    let right = std::fs::read_to_string(palisade.path("proxy.toml")).unwrap();
    std::fs::write(palisade.path("no.wasm"), "no component").unwrap();
    let start_trap = guest("start-trap").display().to_string();
    let cases = [
        (
            "read",
            right.replace("builtin:provider-echo", "missing.wasm"),
        ),
        ("check", right.replace("settle", "setle")),
        ("compile", right.replace("builtin:provider-echo", "no.wasm")),
        ("probe", right.replace("builtin:provider-echo", &start_trap)),
    ];
    for (step, wrong) in cases {
        std::fs::write(palisade.path("proxy.toml"), wrong).unwrap();
        for path in ["reload?dry-run=true", "reload"] {
            let (status, told) = palisade.ask("POST", path, "").await;
            assert_eq!(
                (status, &told["error"]["step"]),
                (409, &json!(step)),
                "{told}"
            );
            assert_eq!(told["error"]["problems"][0]["step"], step, "{told}");
        }
        let (_, told) = palisade.ask("GET", "status", "").await;
        assert_eq!(told["reload"]["error"]["step"], step);
        assert_eq!(told["live"]["generation"], 1);
    }
    std::fs::write(palisade.path("proxy.toml"), right).unwrap();
    let (status, _) = palisade.ask("POST", "reload", "").await;
    assert_eq!(status, 200);
    let (_, told) = palisade.ask("GET", "status", "").await;
    assert_eq!(
        told["reload"]["error"],
        Value::Null,
        "what went well is no error"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_plugin_is_passed_over_until_it_is_enabled() {
    let palisade = Palisade::start(&manifest("unix:admin.sock")).await;
    assert_eq!(asked(&palisade, "forbidden").await.status, 403);
    let (status, told) = palisade.ask("POST", "plugins/guard/disable", "").await;
    assert_eq!((status, &told["disabled"]), (200, &json!(true)));
    let (status, _) = palisade.ask("POST", "reload", "").await;
    assert_eq!(status, 200);
    let got = asked(&palisade, "forbidden").await;
    assert_eq!(got.status, 200, "also after a reload");
    let record = palisade.record(got.id()).await.unwrap();
    assert_eq!(
        record["notes"]["bypassed"], "guard (request-filter)",
        "{record}"
    );
    let (_, told) = palisade.ask("GET", "status", "").await;
    assert_eq!(told["disabled"][0]["plugin"], "guard");
    assert_eq!(told["disabled"][0]["who"], me());
    let (_, told) = palisade.ask("GET", "plugins", "").await;
    let guard = &told["plugins"][1];
    assert_eq!(
        (&guard["name"], &guard["standing"]),
        (&json!("guard"), &json!("disabled"))
    );
    assert_eq!(guard["calls"]["disabled"], 1);

    palisade.ask("POST", "plugins/echo/disable", "").await;
    let got = asked(&palisade, "hello").await;
    assert_eq!(
        got.status, 503,
        "an exchange cannot go on without its adapter"
    );
    assert!(got.text.contains("is disabled"), "{}", got.text);
    palisade.ask("POST", "plugins/echo/enable", "").await;
    palisade.ask("POST", "plugins/guard/enable", "").await;
    assert_eq!(asked(&palisade, "hello").await.status, 200);
    assert_eq!(asked(&palisade, "forbidden").await.status, 403);

    palisade.ask("POST", "plugins/log/disable", "").await;
    let lost = asked(&palisade, "hello").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    palisade.ask("POST", "plugins/log/enable", "").await;
    let kept = asked(&palisade, "hello").await;
    assert!(palisade.record(kept.id()).await.is_some());
    let text = std::fs::read_to_string(palisade.path("log.jsonl")).unwrap();
    assert!(
        !text.contains(lost.id()),
        "a disabled logger writes nothing"
    );
    let (status, _) = palisade.ask("POST", "plugins/nobody/disable", "").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_told_with_what_they_may_and_how_they_fail() {
    let manifest = manifest("unix:admin.sock").replace(
        FILTER,
        &format!(
            "[plugins.guard]\nsource = \"{}\"\ngrants = [\"clocks\", \"random\"]\non-failure = \"bypass\"\n\
             config = {{ fault = \"panic\", at = \"check\" }}\nlimits = {{ memory = \"64MiB\" }}\n\
             [credentials.a]\nfile = \"key\"\nhosts = [\"h\"]\n",
            guest("misbehaving").display()
        ),
    );
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("key"), "sk-canary").unwrap();
    let palisade = Palisade::with_files(&manifest, &[("key", files.path().join("key"))]).await;
    assert_eq!(asked(&palisade, "hello").await.status, 200);
    let (status, told) = palisade.ask("GET", "plugins", "").await;
    assert_eq!((status, &told["generation"]), (200, &json!(1)));
    let plugins = &told["plugins"];
    let names: Vec<_> = plugins
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert_eq!(names, ["echo", "guard", "log"]);
    let echo = &plugins[0];
    assert_eq!(echo["source"], "builtin:provider-echo");
    assert_eq!(echo["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(echo["stages"], json!(["provider"]));
    assert_eq!(echo["contract"], "0.1.0");
    assert_eq!(echo["on_failure"], "reject");
    assert!(echo["calls"]["ok"].as_u64() > Some(0));
    assert!(echo["calls"]["cpu_slices"].is_u64(), "{echo}");
    let guard = &plugins[1];
    assert_eq!(guard["grants"], json!(["clocks", "random"]));
    assert_eq!(guard["limits"]["memory"], 64 << 20);
    assert_eq!(guard["on_failure"], "bypass");
    assert_eq!(guard["calls"]["traps"], 1, "{guard}");
    let failure = &guard["failures"][0];
    assert!(
        failure["error"].as_str().unwrap().contains("trapped"),
        "{failure}"
    );
    assert_eq!(failure["call"], "check", "{failure}");
    assert!(
        failure["backtrace"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{failure}"
    );
    assert_eq!(
        (&guard["instances"], &guard["breaker"]["failures"]),
        (&json!("snapshot"), &json!(5))
    );
    assert_eq!(plugins[2]["on_failure"], "bypass");
    assert!(!told.to_string().contains("canary"));
    assert!(
        !told.to_string().contains("panic\""),
        "a configuration is not told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_could_send_is_refused() {
    for at in ["unix:admin.sock", "127.0.0.1:0"] {
        let palisade = Palisade::start(&manifest(at)).await;
        let get = || palisade.admin_request("GET", "status");
        let scrape = |method| palisade.admin_request(method, "/metrics");
        let post = || palisade.admin_request("POST", "reload");
        let cases = [
            ("nothing odd", get(), 200),
            ("another host", get().header("host", "evil.example"), 403),
            ("an origin", get().header("origin", "http://localhost"), 403),
            ("a POST as a form sends it", post(), 403),
            (
                "a POST of a page",
                post()
                    .header("palisade-admin", "1")
                    .header("origin", "null"),
                403,
            ),
            (
                "a scrape of another host",
                scrape("GET").header("host", "evil.example"),
                403,
            ),
            (
                "a scrape of a page",
                scrape("GET").header("origin", "http://localhost"),
                403,
            ),
            (
                "a scrape that posts",
                scrape("POST").header("palisade-admin", "1"),
                405,
            ),
            (
                "metrics elsewhere",
                palisade.admin_request("GET", "metrics"),
                404,
            ),
            (
                "a preflight",
                palisade.admin_request("OPTIONS", "reload"),
                405,
            ),
            (
                "the wrong method",
                palisade.admin_request("GET", "reload"),
                405,
            ),
            (
                "no such path",
                palisade.admin_request("GET", "nothing"),
                404,
            ),
            (
                "no such option",
                palisade
                    .admin_request("POST", "reload?dryrun=true")
                    .header("palisade-admin", "1"),
                400,
            ),
            (
                "a large body",
                palisade
                    .admin_request("POST", "rollback")
                    .header("palisade-admin", "1")
                    .body("x".repeat(5000)),
                400,
            ),
        ];
        for (what, request, status) in cases {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{what} at {at}");
            let told: Value = response.json().await.unwrap();
            assert_eq!(
                told["error"].is_object(),
                status != 200,
                "{what} at {at}: {told}"
            );
        }
        assert_eq!(palisade.generation(), 1);
        for (path, telling) in [("/v1/status", "uptime_s"), ("/metrics", "palisade_")] {
            let request = reqwest::Client::new().get(format!("{}{path}", palisade.url));
            let got = crate::client::send(request).await;
            assert!(
                !got.text.contains(telling),
                "never on the clients' port: {}",
                got.text
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_and_comes_and_goes_with_the_gateway() {
    let mut palisade = Palisade::start(&manifest("unix:admin.sock")).await;
    let socket = palisade.path("admin.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let at = Admin::Unix(socket.clone());
    let error = Listener::bind(&at).await.unwrap_err();
    let text = error.source().unwrap().to_string();
    assert!(text.contains("another process listens there"), "{text}");
    palisade.drain().await;
    assert!(!socket.exists(), "it is removed at the end");

    // As a process leaves it that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let listener = Listener::bind(&at).await.unwrap();
    drop(listener);
    assert!(!socket.exists());
    std::fs::write(&socket, "mine").unwrap();
    let error = Listener::bind(&at).await.unwrap_err();
    let text = error.source().unwrap().to_string();
    assert!(text.contains("a file that is no socket"), "{text}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
    let left: Vec<_> = std::fs::read_dir(palisade.directory.path())
        .unwrap()
        .collect();
    let hidden = left
        .into_iter()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "nothing else is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_finds_the_gateway_by_its_manifest() {
    let palisade = Palisade::start(&manifest("unix:admin.sock")).await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("palisade"));
        command.arg("--config").arg(palisade.path("proxy.toml"));
        let output = command.args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let says = |arguments: &[&str], good: bool, text: &str| {
        let (success, said) = run(arguments);
        assert_eq!(success, good, "{arguments:?}: {said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
    };
    says(&["status"], true, "generation 1 is live since ");
    says(&["plugins"], true, "plugin echo: provider (well)");
    says(&["plugins"], true, " slices of CPU time, and 0 instances\n");
    says(
        &["reload", "--dry-run"],
        true,
        "plugin guard: carried over\n",
    );
    says(&["metrics"], true, "\npalisade_generation 1\n");
    says(&["reload"], true, "generation 2 is live\n");
    says(&["rollback"], true, "generation 1 is live\n");
    says(
        &["rollback", "9"],
        false,
        "generation 9 is not kept; there are 2\n",
    );
    says(&["disable", "guard"], true, "plugin guard is disabled");
    says(&["enable", "guard"], true, "plugin guard is enabled\n");
    let (_, json) = run(&["status", "--json"]);
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["live"]["generation"], 1);

    // A manifest that is wrong elsewhere still says where the gateway is.
    let wrong = manifest("unix:admin.sock").replace("[server]", "[severs]");
    std::fs::write(palisade.path("proxy.toml"), wrong).unwrap();
    says(&["reload"], false, "  check: ");
    says(&["status"], true, "not reloaded at ");
    let (success, json) = run(&["reload", "--json"]);
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((success, &told["error"]["step"]), (false, &json!("check")));
    std::fs::write(palisade.path("proxy.toml"), "").unwrap();
    says(&["status"], false, "has no [admin]");
    std::fs::write(
        palisade.path("proxy.toml"),
        "[admin]\nlisten = \"unix:other.sock\"\n",
    )
    .unwrap();
    says(&["status"], false, "no gateway answers at unix:");
    // The client's port is bound, and the listener for administrators fails.
    let busy = "[admin]\nlisten = \"unix:admin.sock\"\n[plugins.echo]\nsource = \"builtin:provider-echo\"\n[[routes]]\nname = \"a\"\nprovider = \"echo\"\n";
    std::fs::write(palisade.path("proxy.toml"), busy).unwrap();
    says(
        &["--listen", "127.0.0.1:0"],
        false,
        "another process listens there",
    );
}
