//! Credentials in a plugin's own requests. The plugin names one in a header
//! field, and the host puts the credential in that field's place:
//!
//! ```text
//! palisade-credential: pii                        authorization: Bearer …
//! palisade-credential: pii; header=x-api-key      x-api-key: …
//! ```

use std::collections::{BTreeMap, BTreeSet};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::CalloutError;
use crate::message::CONNECTION_HEADERS;
use crate::secret::Secret;
use crate::veil::Veil;

/// The field in which a plugin names a credential.
const FIELD: HeaderName = HeaderName::from_static("palisade-credential");

/// A credential that a plugin may have placed, and where.
#[derive(Debug, Clone)]
pub struct Bound {
    /// None if it is not there.
    pub secret: Option<Secret>,
    /// Host names, in lower case.
    pub hosts: BTreeSet<String>,
}

impl Bound {
    /// Tells one from another without telling the secret.
    pub fn identity(&self) -> String {
        let digest = self.secret.as_ref().map(Secret::digest);
        format!("{digest:?} {:?}", self.hosts)
    }
}

/// Puts the credential that a request names into it, and answers what covers it
/// in the answer. A request that names none stays as it is.
pub(super) fn place(
    headers: &mut HeaderMap,
    url: &Url,
    credentials: &BTreeMap<String, Bound>,
) -> Result<Option<Veil>, CalloutError> {
    let refused = |why: String| CalloutError::Refused(why);
    let mut named = headers.get_all(FIELD).iter();
    let (first, more) = (named.next(), named.next());
    let Some(value) = first else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default();
    let (name, header) = written(value)
        .filter(|_| more.is_none())
        .ok_or_else(|| refused(format!("`{FIELD}` is \"NAME\" or \"NAME; header=FIELD\"")))?;
    let Some(bound) = credentials.get(name) else {
        let why = format!(
            "credential \"{name}\" is not granted; \"secret:{name}\" in its `grants` would"
        );
        return Err(refused(why));
    };
    let host = url.host_str().unwrap_or_default();
    if !bound.hosts.contains(host) {
        return Err(refused(format!(
            "credential \"{name}\" is not bound to host {host}"
        )));
    }
    if url.scheme() != "https" && !is_loopback(host) {
        return Err(refused(format!(
            "credential \"{name}\" is sent over https only"
        )));
    }
    let Some(secret) = &bound.secret else {
        return Err(refused(format!("credential \"{name}\" is not set")));
    };
    let text = match &header {
        None => format!("Bearer {}", secret.expose()),
        Some(_) => secret.expose().to_owned(),
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| refused(format!("credential \"{name}\" cannot be sent")))?;
    value.set_sensitive(true);
    headers.remove(FIELD);
    headers.insert(header.unwrap_or(AUTHORIZATION), value);
    Ok(Veil::over(secret))
}

/// The name and the header field that a value names.
fn written(value: &str) -> Option<(&str, Option<HeaderName>)> {
    let Some((name, parameter)) = value.split_once(';') else {
        return Some((value.trim(), None));
    };
    let field = parameter.trim().strip_prefix("header=")?;
    let field = HeaderName::from_bytes(field.as_bytes()).ok()?;
    let fits = field != FIELD && !CONNECTION_HEADERS.contains(&field.as_str());
    fits.then_some((name.trim(), Some(field)))
}

/// Whether requests to a host stay on this machine: `resolve` sees to it that
/// this name does not lead elsewhere.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-canary-0123456789";

    fn placed(url: &str, value: &str) -> Result<HeaderMap, String> {
        let bound = |secret: Option<&str>, hosts: &[&str]| Bound {
            secret: secret.map(Secret::new),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        let hosts = ["api.example", "127.0.0.1", "localhost", "10.0.0.1", "[::1]"];
        let credentials = BTreeMap::from([
            ("a".to_owned(), bound(Some(KEY), &hosts)),
            ("unset".to_owned(), bound(None, &hosts)),
        ]);
        let mut headers = HeaderMap::new();
        headers.insert(FIELD, value.parse().unwrap());
        let url = Url::parse(url).unwrap();
        place(&mut headers, &url, &credentials).map_err(|e| e.to_string())?;
        Ok(headers)
    }

    #[test]
    fn a_name_becomes_a_credential() {
        let bearer = placed("https://api.example/", "a").unwrap();
        assert_eq!(bearer["authorization"], format!("Bearer {KEY}"));
        assert!(bearer["authorization"].is_sensitive());
        assert!(!bearer.contains_key(FIELD));
        let own = placed("https://api.example/", "a; header=X-Api-Key").unwrap();
        assert_eq!(own["x-api-key"], KEY);
        assert!(!own.contains_key("authorization"));
    }

    #[test]
    fn it_goes_in_the_clear_only_within_this_machine() {
        for host in ["127.0.0.1:9", "localhost", "[::1]:9"] {
            assert!(placed(&format!("http://{host}/"), "a").is_ok(), "{host}");
        }
        for host in ["api.example", "10.0.0.1"] {
            let said = placed(&format!("http://{host}/"), "a").unwrap_err();
            assert!(said.contains("over https only"), "{said}");
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        for (url, value, says) in [
            ("https://api.example/", "b", "\"secret:b\" in its `grants`"),
            (
                "https://evil.example/",
                "a",
                "not bound to host evil.example",
            ),
            ("https://api.example/", "unset", "is not set"),
            (
                "https://api.example/",
                "a; header=host",
                "`palisade-credential` is",
            ),
            (
                "https://api.example/",
                "a; query=key",
                "`palisade-credential` is",
            ),
        ] {
            let said = placed(url, value).unwrap_err();
            assert!(said.contains(says), "{said}");
            assert!(!said.contains(KEY));
        }
    }
}
