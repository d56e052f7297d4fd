//! `[server]` and `[log]`: the gateway's own bounds, and what it says of itself.

use std::net::SocketAddr;
use std::path::Path;

use super::choice;
use crate::manifest::reader::Fields;
use crate::manifest::{CacheDirectory, Log, Server};

pub(super) fn server(root: &Fields, directory: &Path) -> Server {
    let default = Server::default();
    let Some(fields) = root.table("server") else {
        return default;
    };
    let listen = fields
        .string("listen")
        .and_then(|at| match at.value.parse::<SocketAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                let hint = "write an address and a port: \"127.0.0.1:8000\", \"[::]:8000\"";
                fields.problem(at.line, format!("`listen` is {:?}", at.value), Some(hint));
                None
            }
        });
    let size = |key, default: usize| fields.size(key).map_or(default, |at| at.value.max(1));
    let server = Server {
        listen: listen.unwrap_or(default.listen),
        cors_origins: fields
            .strings("cors-origins")
            .into_iter()
            .map(|at| at.value)
            .collect(),
        max_request_body: size("max-request-body", default.max_request_body),
        max_response_body: size("max-response-body", default.max_response_body),
        max_frame: size("max-frame", default.max_frame),
        workers: fields.count("workers").unwrap_or(default.workers),
        max_connections: fields
            .count("max-connections")
            .unwrap_or(default.max_connections),
        max_exchanges: fields
            .count("max-exchanges")
            .unwrap_or(default.max_exchanges),
        max_instances: fields
            .count("max-instances")
            .unwrap_or(default.max_instances),
        request_timeout: fields
            .duration("request-timeout")
            .unwrap_or(default.request_timeout),
        drain_timeout: fields
            .duration("drain-timeout")
            .unwrap_or(default.drain_timeout),
        server_timing: fields
            .flag("server-timing")
            .map_or(default.server_timing, |at| at.value),
        settle: fields.duration("settle").unwrap_or(default.settle),
        cache: match fields.string("cache").map(|at| at.value).as_deref() {
            None => default.cache,
            Some("off") => CacheDirectory::Off,
            Some(path) => CacheDirectory::Named(directory.join(path)),
        },
    };
    fields.done();
    server
}

pub(super) fn log(root: &Fields) -> Log {
    let mut log = Log {
        level: "info".to_owned(),
        json: false,
    };
    let Some(fields) = root.table("log") else {
        return log;
    };
    if let Some(level) = fields.string("level") {
        if level
            .value
            .parse::<tracing_subscriber::filter::Targets>()
            .is_err()
        {
            let hint = "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
            fields.problem(
                level.line,
                format!("`level` is {:?}", level.value),
                Some(hint),
            );
        }
        log.level = level.value;
    }
    log.json = choice(&fields, "format", &[("text", false), ("json", true)]).unwrap_or(false);
    fields.done();
    log
}
