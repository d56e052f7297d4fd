//! Gateways that are in wide use, as their documentation starts them, with
//! their own logs turned down.

use std::fs;

use serde_json::{Value, json};

use super::{Found, Launch, Subject, Workshop, chat, free_address, installed};

/// Portkey's gateway from npm.
pub fn portkey(workshop: &Workshop) -> anyhow::Result<Found> {
    let package = workshop
        .peers
        .join("portkey/node_modules/@portkey-ai/gateway");
    let server = package.join("build/start-server.js");
    let (Some(node), true) = (installed("node"), server.exists()) else {
        let hint = "cargo run --release -p bench -- --install-peers portkey";
        return Ok(Found::absent("portkey", hint));
    };
    let place = workshop.place("portkey")?;
    let address = free_address()?;
    let (server, port) = (
        server.display().to_string(),
        format!("--port={}", address.port()),
    );
    let mut launch = Launch::new(node, &[&server, &port, "--headless"], &place);
    launch.variables = [
        ("NODE_ENV", "production"),
        // It refuses to speak to hosts of its own network otherwise.
        ("TRUSTED_CUSTOM_HOSTS", "127.0.0.1,localhost"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let mut target = chat(address);
    target.headers = vec![
        ("x-portkey-provider".to_owned(), "openai".to_owned()),
        (
            "x-portkey-custom-host".to_owned(),
            format!("http://{}/v1", workshop.upstream),
        ),
    ];
    let manifest = fs::read_to_string(package.join("package.json"))?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let subject = Subject {
        name: "portkey".to_owned(),
        what: "Node, no plugins".to_owned(),
        version: manifest["version"].as_str().unwrap_or_default().to_owned(),
        target,
        launch: Some(launch),
        starts_quickly: false,
    };
    Ok(Found::here(subject))
}

/// LiteLLM's proxy from PyPI.
pub fn litellm(workshop: &Workshop) -> anyhow::Result<Found> {
    let program = workshop.peers.join("litellm/bin/litellm");
    if !program.exists() {
        let hint = "cargo run --release -p bench -- --install-peers litellm";
        return Ok(Found::absent("litellm", hint));
    }
    let place = workshop.place("litellm")?;
    let address = free_address()?;
    let parameters = json!({"model": "openai/gpt-4o", "api_key": "sk-bench",
        "api_base": format!("http://{}/v1", workshop.upstream)});
    let config = json!({
        "model_list": [{"model_name": "gpt-4o", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": false, "num_retries": 0},
    });
    let file = place.join("config.yaml");
    // JSON is YAML.
    fs::write(&file, config.to_string())?;
    let (file, port) = (file.display().to_string(), address.port().to_string());
    let arguments = ["--config", &file, "--host", "127.0.0.1", "--port", &port];
    let mut launch = Launch::new(program, &arguments, &place);
    launch.variables = [
        ("LITELLM_LOG", "ERROR"),
        ("LITELLM_MODE", "PRODUCTION"),
        // It wants a key of its clients otherwise, and looks for it in vain.
        (
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
            "true",
        ),
        // Its prices come with it; it looks for newer ones otherwise.
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let packages = workshop.peers.join("litellm/lib");
    let subject = Subject {
        name: "litellm".to_owned(),
        what: "Python, no plugins".to_owned(),
        version: python_version(&packages, "litellm"),
        target: chat(address),
        launch: Some(launch),
        starts_quickly: false,
    };
    Ok(Found::here(subject))
}

/// The version of an installed Python package, by its folder's name.
fn python_version(packages: &std::path::Path, package: &str) -> String {
    let folders = fs::read_dir(packages).into_iter().flatten().flatten();
    let folders =
        folders.filter_map(|python| fs::read_dir(python.path().join("site-packages")).ok());
    let names = folders
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok());
    let found = names.filter_map(|name| {
        let version = name
            .strip_prefix(package)?
            .strip_prefix('-')?
            .strip_suffix(".dist-info")?;
        Some(version.to_owned())
    });
    found.into_iter().next().unwrap_or_default()
}
