//! What is loaded is what was meant: digests in the manifest and in the lock
//! file.

use std::path::Path;

use palisade::generation::Components;
use palisade::manifest::{Lock, Manifest};
use palisade_tests::{Palisade, guest, program};

use crate::client::{CHAT, chat, post_json};

const ROUTE: &str = "[[routes]]\nname = \"all\"\nprovider = \"echo\"\n";

fn echo(more: &str) -> String {
    format!("[plugins.echo]\nsource = \"builtin:provider-echo\"\n{more}\n{ROUTE}")
}

async fn said(manifest: &str) -> String {
    let problems = Palisade::problems(manifest, &[]).await;
    problems
        .map(|problems| problems.to_string())
        .unwrap_or_default()
}

/// The digest of a manifest's plugin "echo", as `palisade lock` finds it.
async fn digest() -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    std::fs::write(&file, echo("")).unwrap();
    let manifest = Manifest::load(&file).unwrap();
    let lock = Components::read(&manifest)
        .await
        .into_lock(&manifest)
        .unwrap();
    lock.plugins["echo"].sha256.clone()
}

#[tokio::test]
async fn a_component_must_have_the_digest_that_is_demanded() {
    let digest = digest().await;
    assert_eq!(
        said(&echo(&format!("sha256 = \"{}\"", digest.to_uppercase()))).await,
        ""
    );
    let wrong = "0".repeat(64);
    let said_of = said(&echo(&format!("sha256 = \"{wrong}\""))).await;
    let expected = format!(
        ":3: plugin \"echo\" (builtin:provider-echo) has sha256 {digest}, and its `sha256` is {wrong}"
    );
    assert!(said_of.ends_with(&expected), "{said_of}");
    let said_of = said(&echo("sha256 = \"abc\"")).await;
    assert!(
        said_of.contains(":3: `sha256` is \"abc\" (it has 64 hexadecimal digits"),
        "{said_of}"
    );
}

#[tokio::test]
async fn a_scheme_that_is_not_known_yet_is_no_file() {
    for source in [
        "oci://ghcr.io/a/b:1",
        "registry:a/b@1",
        "https://h/a.wasm",
        "file:a.wasm",
    ] {
        let said_of = said(&format!("[plugins.echo]\nsource = \"{source}\"\n{ROUTE}")).await;
        let scheme = source.split(':').next().unwrap();
        let expected =
            format!(":2: `source` has the scheme \"{scheme}:\", which is not supported yet");
        assert!(said_of.contains(&expected), "{said_of}");
        assert!(!said_of.contains("cannot be read"), "{said_of}");
    }
    let said_of = said(&format!("[plugins.echo]\nsource = \"./a:b.wasm\"\n{ROUTE}")).await;
    assert!(said_of.contains("./a:b.wasm cannot be read"), "{said_of}");
}

fn run(config: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = std::process::Command::new(program("palisade"));
    let output = command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_lock_file_is_not_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("proxy.toml");
    let manifest = format!(
        "[reload]\nlocked = true\n[plugins.echo]\nsource = \"echo.wasm\"\n[plugins.log]\nsource = \"builtin:logger\"\n{ROUTE}"
    );
    std::fs::write(&config, &manifest).unwrap();
    let adapter = |name: &str| {
        let bytes = palisade::builtin::component(name).unwrap();
        std::fs::write(directory.path().join("echo.wasm"), bytes).unwrap();
    };
    adapter("provider-echo");
    let (good, said) = run(&config, &["check"]);
    assert!(
        !good && said.contains("proxy.toml:2: the lock file "),
        "{said}"
    );
    assert!(
        said.contains("cannot be read") && said.contains("`palisade lock` writes it"),
        "{said}"
    );

    let (good, said) = run(&config, &["lock"]);
    assert!(good && said.ends_with("proxy.lock: 2 plugins\n"), "{said}");
    let lock = Lock::read(&directory.path().join("proxy.lock")).unwrap();
    assert_eq!(lock.plugins["log"].source, "builtin:logger");
    let (good, said) = run(&config, &["check"]);
    assert!(good, "{said}");

    adapter("provider-openai");
    let (good, said) = run(&config, &["check"]);
    let locked = &lock.plugins["echo"].sha256;
    assert!(
        !good && said.contains("proxy.toml:4: plugin \"echo\" "),
        "{said}"
    );
    assert!(
        said.contains(&format!(
            "and {locked} is locked (if it is meant to be, run `palisade lock`)"
        )),
        "{said}"
    );
    let more = manifest.replace(
        "[plugins.log]",
        "[plugins.new]\nsource = \"builtin:logger\"\n[plugins.log]",
    );
    std::fs::write(&config, more).unwrap();
    adapter("provider-echo");
    let (good, said) = run(&config, &["check"]);
    assert!(
        !good && said.contains("plugin \"new\" (builtin:logger) has sha256 "),
        "{said}"
    );
    assert!(said.contains("and none is locked"), "{said}");
    std::fs::write(directory.path().join("proxy.lock"), "x").unwrap();
    let (good, said) = run(&config, &["check"]);
    assert!(
        !good && said.contains("proxy.lock cannot be read"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_lock_file_is_a_reason_to_reload() {
    let manifest = format!(
        "[server]\nsettle = \"20ms\"\n[reload]\nlocked = true\n[plugins.echo]\nsource = \"echo.wasm\"\nsha256 = \"{}\"\n{ROUTE}",
        digest().await
    );
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let file = files.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    };
    let echo = palisade::builtin::component("provider-echo").unwrap();
    let lock = format!(
        "[plugins.echo]\nsource = \"echo.wasm\"\nsha256 = \"{}\"\n",
        digest().await
    );
    let files = [
        ("echo.wasm", file("echo.wasm", echo)),
        ("proxy.lock", file("proxy.lock", lock.as_bytes())),
    ];
    let palisade = Palisade::with_files(&manifest, &files).await;
    std::fs::write(
        palisade.path("proxy.lock"),
        lock.replace("echo.wasm", "elsewhere"),
    )
    .unwrap();
    assert!(palisade.reloaded(1).await);
    // A component that is not locked changes nothing.
    std::fs::copy(guest("guard"), palisade.path("echo.wasm")).unwrap();
    let refused = async {
        while palisade.control().told().refused.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    refused.await;
    let refused = palisade.control().told().refused.unwrap();
    assert_eq!(
        refused.step(),
        palisade::manifest::Step::Check,
        "{refused:?}"
    );
    let got = post_json(&palisade.url, CHAT, &chat("m", "ping")).await;
    assert!(got.text.contains("You said: ping"), "{}", got.text);
}
