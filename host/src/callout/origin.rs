//! Which servers a grant of HTTP is for: a scheme, a host or all hosts below
//! one, and a port.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// The origin of a grant, as URLs have it: `https://api.example.com:8443`. A
/// host that begins with `*.` is any name below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    secure: bool,
    /// As a URL has it after parsing: in lower case, addresses in their one
    /// form, IPv6 in brackets.
    host: String,
    /// Whether names below the host are meant, and not itself.
    below: bool,
    port: u16,
}

impl Origin {
    /// Whether a URL is one of this origin's.
    pub fn matches(&self, url: &Url) -> bool {
        let scheme = if self.secure { "https" } else { "http" };
        let host = url.host_str().unwrap_or_default();
        let named = if self.below {
            let above = host.strip_suffix(&self.host);
            above.is_some_and(|above| above.len() > 1 && above.ends_with('.'))
        } else {
            host == self.host
        };
        named && url.scheme() == scheme && url.port_or_known_default() == Some(self.port)
    }

    fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (secure, authority) = match text.split_once("://") {
            None => (true, text),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some((scheme, _)) => return Err(format!("scheme {scheme:?} is not https or http")),
        };
        let (below, authority) = match authority.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, authority),
        };
        if authority.contains(['/', '?', '#', '@', '*', '\\']) || authority.is_empty() {
            return Err("it is a scheme, a host and a port, and nothing else".to_owned());
        }
        let scheme = if secure { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{authority}"))
            .map_err(|e| format!("it names no host: {e}"))?;
        let host = url.host_str().unwrap_or_default().to_owned();
        if below && (url.domain().is_none() || !host.contains('.')) {
            return Err("`*.` stands before a domain of one's own".to_owned());
        }
        Ok(Self {
            secure,
            host,
            below,
            port: url.port_or_known_default().unwrap_or_default(),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let star = if self.below { "*." } else { "" };
        write!(f, "{scheme}://{star}{}", self.host)?;
        if self.port != self.default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(grant: &str, url: &str) -> bool {
        let origin: Origin = grant.parse().unwrap();
        origin.matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert!(matches("api.example.com", "https://api.example.com/x?y"));
        assert!(matches(
            "https://API.example.com:443",
            "https://api.Example.com"
        ));
        assert!(!matches("api.example.com", "http://api.example.com/"));
        assert!(!matches("api.example.com", "https://api.example.com:8443/"));
        assert!(!matches("api.example.com", "https://api.example.com./"));
        assert!(!matches("api.example.com", "https://xapi.example.com/"));
        assert!(!matches(
            "api.example.com",
            "https://api.example.com.evil.example/"
        ));
        assert!(!matches(
            "api.example.com",
            "https://api.example.com@evil.example/"
        ));
        assert!(matches("http://localhost:9000", "http://localhost:9000/"));
    }

    #[test]
    fn a_star_is_for_what_is_below() {
        assert!(matches("*.example.com", "https://a.example.com/"));
        assert!(matches("*.example.com", "https://a.b.example.com/"));
        assert!(!matches("*.example.com", "https://example.com/"));
        assert!(!matches("*.example.com", "https://aexample.com/"));
    }

    /// An address has many spellings, and one meaning.
    #[test]
    fn an_address_is_known_however_it_is_written() {
        for spelt in ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1"] {
            assert!(matches("http://127.0.0.1", &format!("http://{spelt}/")));
            assert!(!matches("http://localhost", &format!("http://{spelt}/")));
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "https://",
            "ftp://x",
            "https://x/path",
            "https://x?q",
            "https://u@x",
            "*",
            "*.com",
            "*.10.0.0.1",
            "a.*.example.com",
            "https://x:99999",
            "https://a b",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
    }
}
