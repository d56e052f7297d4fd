//! A request filter that opens a TCP connection, and so imports `wasi:sockets`.
//!
//! Used by the tests of grants: without one the plugin is refused when it is
//! loaded, by a message that names the import.

wit_bindgen::generate!({
    path: "../../../../wit/0.1.0",
    inline: "
        package guest:ungranted-import;
        world guest {
            include palisade:plugin/security-filter@0.1.0;
        }
    ",
    world: "guest:ungranted-import/guest",
    generate_all,
});

use std::net::TcpStream;

use exports::palisade::plugin::request_filter::{Guest, Verdict};
use palisade::plugin::message::Request;
use palisade::plugin::types::Problem;

struct Filter;

impl Guest for Filter {
    /// Lets the exchange go on if it could reach the address in the request's
    /// `x-connect-to` header.
    fn check(request: &Request) -> Result<Verdict, Problem> {
        let values = request.header("x-connect-to");
        let address = values
            .first()
            .map_or("127.0.0.1:9".into(), |value| String::from_utf8_lossy(value));
        match TcpStream::connect(address.as_ref()) {
            Ok(_) => Ok(Verdict::Proceed),
            Err(error) => Err(Problem {
                code: "connect.failed".to_owned(),
                message: format!("could not connect to {address}: {error}"),
            }),
        }
    }
}

#[cfg(target_family = "wasm")]
export!(Filter);
