//! What one table says of another: every name that refers to something, and
//! what belongs together.

use std::collections::BTreeSet;

use crate::manifest::reader::{At, Fields, nearest};
use crate::manifest::{Credential, Manifest, PluginEntry};
use crate::plugin::Grant;

/// Checks every name that refers to another table, and what belongs together.
pub(super) fn references(root: &Fields, manifest: &Manifest) {
    if root.tables("routes").is_empty() {
        root.problem(
            1,
            "there is no route".to_owned(),
            Some("add a [[routes]] table"),
        );
    }
    let mut seen = BTreeSet::new();
    for route in &manifest.routes {
        if !seen.insert(&route.name) {
            root.problem(
                route.line,
                format!("there are two routes \"{}\"", route.name),
                None,
            );
        }
        let single = route.rewriter.iter().chain([&route.provider]);
        for at in route.filters.iter().chain(&route.loggers).chain(single) {
            refer(root, "plugin", at, manifest.plugins.keys());
        }
        for key in &route.matches.keys {
            let at = At {
                value: key.clone(),
                line: route.line,
            };
            refer(root, "key", &at, manifest.keys.iter().map(|key| &key.name));
        }
    }
    for plugin in manifest.plugins.values() {
        for grant in &plugin.grants {
            if let Grant::Secret(name) = grant {
                let at = At {
                    value: name.clone(),
                    line: plugin.grants_line,
                };
                refer(root, "credential", &at, manifest.credentials.keys());
            }
        }
        let Some(name) = &plugin.credential else {
            continue;
        };
        let at = At {
            value: name.clone(),
            line: plugin.line,
        };
        refer(root, "credential", &at, manifest.credentials.keys());
        bound(root, plugin, manifest.credentials.get(name));
    }
}

/// Whether the plugin's upstream is one of the hosts that its credential is
/// bound to.
fn bound(root: &Fields, plugin: &PluginEntry, credential: Option<&Credential>) {
    let (Some(credential), Some(name)) = (credential, &plugin.credential) else {
        return;
    };
    let Some(host) = plugin.upstream.as_ref().and_then(|url| url.host_str()) else {
        let message = format!(
            "[plugins.{}] has a credential and no `upstream`",
            plugin.name
        );
        root.problem(
            plugin.line,
            message,
            Some("name the base URL that it is for"),
        );
        return;
    };
    if !credential.hosts.contains(host) {
        let message = format!("credential \"{name}\" is not bound to host {host}");
        let hint = format!("add it to `hosts` in [credentials.{name}], if it may be sent there");
        root.problem(plugin.line, message, Some(&hint));
    }
}

fn refer<'n>(
    root: &Fields,
    what: &str,
    at: &At<String>,
    known: impl Iterator<Item = &'n String> + Clone,
) {
    if known.clone().any(|name| *name == at.value) {
        return;
    }
    let near = nearest(&at.value, known.map(String::as_str));
    let hint = near.map(|near| format!("did you mean \"{near}\"?"));
    root.problem(
        at.line,
        format!("there is no {what} \"{}\"", at.value),
        hint.as_deref(),
    );
}
