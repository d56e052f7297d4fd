//! Requests that are refused before anything is looked up: those that a web
//! page may have made someone's browser send.
//!
//! One rule for both kinds of listener. `host` is a loopback name, so that a
//! page whose own name was made to point here (DNS rebinding) is refused; no
//! request has an `origin`, which browsers send with every request that can
//! change something; and a POST has `palisade-admin: 1`, which no page can send
//! without being asked first for a permission that is never given.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method};

/// The header field that every POST has.
pub(super) const MARK: HeaderName = HeaderName::from_static("palisade-admin");

/// Why a request is refused; none if it is not.
pub(super) fn refused(head: &Parts) -> Option<&'static str> {
    if !is_loopback(&head.headers) {
        return Some("`host` is not a loopback name or address");
    }
    if head.headers.contains_key(ORIGIN) {
        return Some("it has an `origin`: web pages may not administer a gateway");
    }
    let marked = head.headers.get(MARK).is_some_and(|value| value == "1");
    if head.method == Method::POST && !marked {
        return Some("a POST needs the header field `palisade-admin: 1`");
    }
    None
}

fn is_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    let is_loopback = |address: IpAddr| address.is_loopback();
    !authority.as_str().contains('@')
        && (name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_host_is_served() {
        let served = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            is_loopback(&headers)
        };
        for host in [
            "localhost",
            "LOCALHOST:8100",
            "127.0.0.1:8100",
            "[::1]:8100",
            "127.8.9.1",
        ] {
            assert!(served(host), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]",
            "a@localhost",
            "",
        ] {
            assert!(!served(host), "{host}");
        }
        assert!(!is_loopback(&HeaderMap::new()), "no host");
    }
}
