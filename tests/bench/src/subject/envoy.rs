//! Envoy, bare and with filters in WebAssembly, whose instances are shared by
//! all requests of a worker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Found, Launch, Subject, Workshop, chat, free_address, version};

/// The source of the filter.
const FILTER: &str = include_str!("../../filter.rs");

/// One of its forms: a name, what it does, how many filters, and which.
type Form = (&'static str, &'static str, usize, &'static str);

const FORMS: [Form; 3] = [
    ("envoy", "bare proxy", 0, PASSES),
    ("envoy-4", "4 filters that read bodies", 4, READS),
    ("envoy-4-pass", "4 filters that look at nothing", 4, PASSES),
];

const PASSES: &str = "passes.wasm";
const READS: &str = "reads.wasm";

/// Envoy from PyPI, in its forms.
pub fn all(workshop: &Workshop) -> anyhow::Result<Vec<Found>> {
    let program = program(&workshop.peers);
    let mut found = Vec::new();
    for (name, what, filters, file) in FORMS {
        let filter = workshop.peers.join(file);
        found.push(match &program {
            Some(program) if filters == 0 || filter.exists() => Found::here(subject(
                workshop,
                program,
                (name, what),
                (filters, &filter),
            )?),
            _ => Found::absent(
                name,
                "cargo run --release -p bench -- --install-peers envoy",
            ),
        });
    }
    Ok(found)
}

/// Where pip puts the program, which is deep inside its package.
fn program(peers: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(peers.join("envoy/lib")).ok()?;
    let inside = "site-packages/envoy/_bin/envoy";
    pythons
        .filter_map(|python| Some(python.ok()?.path().join(inside)))
        .find(|file| file.is_file())
}

/// Builds both forms of the filter into the directory of peers.
///
/// # Errors
///
/// If rustc fails, most likely since the target is missing.
pub fn build_filter(peers: &Path) -> anyhow::Result<()> {
    let source = peers.join("filter.rs");
    fs::write(&source, FILTER)?;
    for (file, reads) in [(PASSES, false), (READS, true)] {
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "--target", "wasm32-unknown-unknown"]);
        rustc.args([
            "--crate-type",
            "cdylib",
            "-C",
            "opt-level=3",
            "-C",
            "panic=abort",
        ]);
        rustc.args(["-C", "strip=symbols", "--check-cfg", "cfg(reads)"]);
        if reads {
            rustc.args(["--cfg", "reads"]);
        }
        let status = rustc.arg("-o").arg(peers.join(file)).arg(&source).status();
        let built = status.context("rustc cannot be run")?.success();
        ensure!(
            built,
            "the filter cannot be built (rustup target add wasm32-unknown-unknown)"
        );
    }
    Ok(())
}

fn subject(
    workshop: &Workshop,
    program: &Path,
    (name, what): (&str, &str),
    (filters, filter): (usize, &Path),
) -> anyhow::Result<Subject> {
    let place = workshop.place(name)?;
    let address = free_address()?;
    let endpoint = |address: std::net::SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let mut chain: Vec<Value> = (0..filters)
        .map(|index| wasm_filter(index, filter))
        .collect();
    chain.push(extension(
        "envoy.filters.http.router",
        "router.v3.Router",
        json!({}),
    ));
    let manager = json!({
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "model", "timeout": "0s"}}]}]},
        "http_filters": chain,
    });
    let manager_type = "network.http_connection_manager.v3.HttpConnectionManager";
    let config = json!({"static_resources": {
        "listeners": [{"address": endpoint(address), "filter_chains": [{"filters": [
            typed("envoy.filters.network.http_connection_manager",
                &format!("envoy.extensions.filters.{manager_type}"), manager)]}]}],
        "clusters": [{"name": "model", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [
                {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
            "load_assignment": {"cluster_name": "model", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": endpoint(workshop.upstream)}}]}]}}],
    }});
    let file = place.join("envoy.json");
    fs::write(&file, config.to_string())?;
    let file = file.display().to_string();
    let arguments = [
        "-c",
        &file,
        "--concurrency",
        "2",
        "--disable-hot-restart",
        "--log-level",
        "warn",
    ];
    Ok(Subject {
        name: name.to_owned(),
        what: what.to_owned(),
        version: envoy_version(program),
        target: chat(address),
        launch: Some(Launch::new(program, &arguments, &place)),
        starts_quickly: true,
    })
}

/// "… version: HASH/1.40.0/Clean/RELEASE/BoringSSL"
fn envoy_version(program: &Path) -> String {
    let told = Command::new(program).arg("--version").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let hash = told.ok();
    let build = hash
        .as_deref()
        .and_then(|told| told.split("version: ").nth(1));
    match build.and_then(|build| build.split('/').nth(1)) {
        Some(number) => number.to_owned(),
        None => version(program, "--version"),
    }
}

fn wasm_filter(index: usize, file: &Path) -> Value {
    let code = json!({"local": {"filename": file}});
    let config = json!({"config": {
        "name": format!("filter-{index}"),
        "root_id": format!("filter-{index}"),
        "vm_config": {"vm_id": format!("vm-{index}"), "runtime": "envoy.wasm.runtime.v8",
            "code": code},
    }});
    extension("envoy.filters.http.wasm", "wasm.v3.Wasm", config)
}

fn extension(name: &str, kind: &str, config: Value) -> Value {
    typed(
        name,
        &format!("envoy.extensions.filters.http.{kind}"),
        config,
    )
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{kind}").into();
    json!({"name": name, "typed_config": config})
}
