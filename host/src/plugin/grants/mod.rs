//! What an operator can give a plugin beyond the baseline, and how asking and
//! granting meet: a component asks by importing, the manifest grants, and what
//! is both asked for and granted is linked.
//!
//! - `refusal`: the sentence for an import that is not given
//! - `http`, `key_value`: what the granted interfaces do

pub(super) mod http;
pub(super) mod key_value;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::callout::{Bound, Callout, Origin, Reach};
use crate::plugin::Limits;
use crate::store::Store;

pub use refusal::Refusal;

/// Something beyond the baseline that an operator can give a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// `wasi:clocks`: what time it is.
    Clocks,
    /// `wasi:random`: random bytes. Seeds for hash tables need no grant.
    Random,
    /// `wasi:http`: requests to one origin.
    Http(Origin),
    /// Granted names may resolve to these addresses although they are not
    /// public.
    Private(IpNet),
    /// `wasi:keyvalue`: the bucket of this name.
    KeyValue(String),
    /// The credential of this name may be placed in the plugin's requests.
    Secret(String),
}

/// What is linked, or not, as a whole. A grant says more: which server, which
/// bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    Clocks,
    Random,
    Http,
    KeyValue,
}

/// Why a text is no grant, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotAGrant {
    pub message: String,
    pub hint: String,
}

/// What one plugin is given: its grants, and what they open.
pub struct Given {
    grants: BTreeSet<Grant>,
    /// None if it is granted no origin.
    callout: Option<Callout>,
    /// Where the buckets are.
    store: Arc<dyn Store>,
}

impl Given {
    /// What grants open, with the credentials that they name.
    ///
    /// # Errors
    ///
    /// If the system's certificates cannot be loaded.
    pub fn new(
        grants: BTreeSet<Grant>,
        credentials: BTreeMap<String, Bound>,
        limits: &Limits,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Self>, String> {
        let mut reach = Reach {
            credentials,
            max_requests: limits.http_requests,
            max_body: limits.http_body,
            ..Reach::default()
        };
        for grant in &grants {
            match grant {
                Grant::Http(origin) => reach.origins.push(origin.clone()),
                Grant::Private(net) => reach.private.push(*net),
                _ => {}
            }
        }
        let callout = if reach.origins.is_empty() {
            None
        } else {
            Some(Callout::new(reach).map_err(|e| e.to_string())?)
        };
        Ok(Arc::new(Self {
            grants,
            callout,
            store,
        }))
    }

    pub fn grants(&self) -> &BTreeSet<Grant> {
        &self.grants
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Given")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// How each grant is written.
const FORMS: &str = "there are \"clocks\", \"random\", \"http:https://HOST\", \
                     \"private:NETWORK\", \"keyvalue:NAME\", \"secret:NAME\"";

impl Grant {
    /// What has to be linked for this grant to be of use.
    pub fn capability(&self) -> Capability {
        match self {
            Self::Clocks => Capability::Clocks,
            Self::Random => Capability::Random,
            Self::Http(_) | Self::Private(_) | Self::Secret(_) => Capability::Http,
            Self::KeyValue(_) => Capability::KeyValue,
        }
    }
}

/// What a set of grants links.
pub fn capabilities(grants: &BTreeSet<Grant>) -> BTreeSet<Capability> {
    let linked = grants.iter().filter(|grant| {
        // Neither opens anything by itself.
        !matches!(grant, Grant::Private(_) | Grant::Secret(_))
    });
    linked.map(Grant::capability).collect()
}

impl Capability {
    /// The capability that an import needs; none if it is in the baseline or
    /// cannot be granted.
    pub fn for_import(import: &str) -> Option<Self> {
        let interface = import.split('@').next().unwrap_or_default();
        match interface {
            "wasi:random/insecure-seed" => None,
            "wasi:http/types" | "wasi:http/outgoing-handler" => Some(Self::Http),
            "wasi:keyvalue/store" | "wasi:keyvalue/atomics" => Some(Self::KeyValue),
            _ if interface.starts_with("wasi:clocks/") => Some(Self::Clocks),
            _ if interface.starts_with("wasi:random/") => Some(Self::Random),
            _ => None,
        }
    }

    /// A grant that links it, as it stands in a manifest.
    pub fn example(self) -> &'static str {
        match self {
            Self::Clocks => "clocks",
            Self::Random => "random",
            Self::Http => "http:https://HOST",
            Self::KeyValue => "keyvalue:NAME",
        }
    }
}

impl FromStr for Grant {
    type Err = NotAGrant;

    fn from_str(text: &str) -> Result<Self, NotAGrant> {
        let wrong = |why: &str, hint: &str| NotAGrant {
            message: format!("\"{text}\" is not a grant: {why}"),
            hint: hint.to_owned(),
        };
        let named = |name: &str| {
            if is_name(name) {
                return Ok(name.to_owned());
            }
            let hint = "1 to 64 letters, digits, \"-\", \"_\" or \".\"";
            Err(wrong(&format!("{name:?} is not a name"), hint))
        };
        match text.split_once(':') {
            None if text == "clocks" => Ok(Self::Clocks),
            None if text == "random" => Ok(Self::Random),
            Some(("http", origin)) => origin
                .parse()
                .map(Self::Http)
                .map_err(|why: String| wrong(&why, "\"http:https://api.example.com\"")),
            Some(("private", net)) => net.parse().map(Self::Private).map_err(|_| {
                wrong(
                    "it names no network",
                    "\"private:10.0.0.0/8\", \"private:fd00::/8\"",
                )
            }),
            Some(("keyvalue", name)) => named(name).map(Self::KeyValue),
            Some(("secret", name)) => named(name).map(Self::Secret),
            _ => Err(NotAGrant {
                message: format!("there is no grant \"{text}\""),
                hint: FORMS.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Clocks => f.write_str("clocks"),
            Self::Random => f.write_str("random"),
            Self::Http(origin) => write!(f, "http:{origin}"),
            Self::Private(net) => write!(f, "private:{net}"),
            Self::KeyValue(name) => write!(f, "keyvalue:{name}"),
            Self::Secret(name) => write!(f, "secret:{name}"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_written_as_it_is_read() {
        for text in [
            "clocks",
            "random",
            "http:https://api.example.com",
            "http:http://127.0.0.1:9000",
            "http:https://*.example.com:8443",
            "http:https://[2001:db8::1]",
            "private:10.0.0.0/8",
            "private:fd00::/8",
            "keyvalue:counters",
            "secret:pii",
        ] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
        }
        let short: Grant = "http:api.example.com".parse().unwrap();
        assert_eq!(short.to_string(), "http:https://api.example.com");
    }

    #[test]
    fn a_network_or_a_secret_links_nothing_by_itself() {
        let grants = ["private:10.0.0.0/8", "secret:a"];
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        assert!(capabilities(&grants).is_empty());
    }

    #[test]
    fn only_the_interfaces_that_exist_are_granted() {
        let wanted = [
            ("wasi:http/types@0.2.9", Some(Capability::Http)),
            ("wasi:http/outgoing-handler@0.2.0", Some(Capability::Http)),
            ("wasi:http/incoming-handler@0.2.0", None),
            (
                "wasi:keyvalue/store@0.2.0-draft2",
                Some(Capability::KeyValue),
            ),
            ("wasi:keyvalue/batch@0.2.0-draft2", None),
            ("wasi:random/insecure-seed@0.2.0", None),
            ("wasi:random/insecure@0.2.0", Some(Capability::Random)),
            ("wasi:sockets/tcp@0.2.0", None),
        ];
        for (import, capability) in wanted {
            assert_eq!(Capability::for_import(import), capability, "{import}");
        }
    }
}
