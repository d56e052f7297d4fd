//! What one table says of another: every name that refers to something, and
//! what belongs together.

use std::collections::BTreeSet;

use crate::manifest::reader::{At, Fields, nearest};
use crate::manifest::{Credential, Direct, Manifest, PluginEntry, Provider, RouteEntry};
use crate::plugin::Grant;
use crate::upstream::Base;

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
        of_route(root, route, manifest);
    }
    for plugin in manifest.plugins.values() {
        of_plugin(root, plugin, manifest);
    }
}

/// The plugins, the credential and the keys that a route names.
fn of_route(root: &Fields, route: &RouteEntry, manifest: &Manifest) {
    let plugin = match &route.provider {
        Provider::Plugin(at) => Some(at),
        Provider::Direct(_) => None,
    };
    let single = route.rewriter.iter().chain(plugin);
    for at in route.filters.iter().chain(&route.loggers).chain(single) {
        refer(root, "plugin", at, manifest.plugins.keys());
    }
    if let Provider::Direct(Direct {
        upstream,
        credential: Some(at),
        ..
    }) = &route.provider
    {
        refer(root, "credential", at, manifest.credentials.keys());
        bound(root, at, upstream, manifest.credentials.get(&at.value));
    }
    for key in &route.matches.keys {
        let at = At {
            value: key.clone(),
            line: route.line,
        };
        refer(root, "key", &at, manifest.keys.iter().map(|key| &key.name));
    }
}

/// The credentials that a plugin names, by its grants and as an adapter.
fn of_plugin(root: &Fields, plugin: &PluginEntry, manifest: &Manifest) {
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
        return;
    };
    let at = At {
        value: name.clone(),
        line: plugin.line,
    };
    refer(root, "credential", &at, manifest.credentials.keys());
    match &plugin.upstream {
        Some(upstream) => bound(root, &at, upstream, manifest.credentials.get(name)),
        None => {
            let name = &plugin.name;
            let message = format!("[plugins.{name}] has a credential and no `upstream`");
            let hint = "name the base URL that it is for";
            root.problem(plugin.line, message, Some(hint));
        }
    }
}

/// Whether an upstream is one of the hosts that its credential is bound to.
fn bound(root: &Fields, at: &At<String>, upstream: &Base, credential: Option<&Credential>) {
    let (name, host) = (&at.value, upstream.host());
    if credential.is_some_and(|credential| !credential.hosts.contains(&**host)) {
        let message = format!("credential \"{name}\" is not bound to host {host}");
        let hint = format!("add it to `hosts` in [credentials.{name}], if it may be sent there");
        root.problem(at.line, message, Some(&hint));
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
