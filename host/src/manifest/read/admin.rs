//! `[admin]`: where the gateway is administered. What can be reached from
//! another machine is refused, since the listener asks for no password.

use std::net::SocketAddr;
use std::path::Path;

use crate::manifest::Admin;
use crate::manifest::reader::{At, Fields};

pub(super) fn admin(root: &Fields, directory: &Path) -> Option<Admin> {
    let fields = root.table("admin")?;
    let listen = fields.required("listen");
    let admin = listen.and_then(|at| address(&fields, &at, directory));
    fields.done();
    admin
}

fn address(fields: &Fields, at: &At<String>, directory: &Path) -> Option<Admin> {
    let hint = "write \"unix:admin.sock\", or a loopback address: \"127.0.0.1:8100\"";
    if let Some(path) = at.value.strip_prefix("unix:").filter(|p| !p.is_empty()) {
        return Some(Admin::Unix(directory.join(path)));
    }
    let message = match at.value.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => return Some(Admin::Tcp(address)),
        Ok(address) => format!("`listen` in [admin] is {address}, which is no loopback address"),
        Err(_) => format!("`listen` in [admin] is {:?}", at.value),
    };
    fields.problem(at.line, message, Some(hint));
    None
}
