//! A base URL, and the addresses below it: what a plugin or a client writes as
//! a path must not lead anywhere else.

use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use reqwest::Url;

/// The base URL of an upstream, taken apart once for all the requests to it.
#[derive(Debug, Clone)]
pub struct Base(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    url: Url,
    scheme: Scheme,
    authority: Authority,
    host: Arc<str>,
    /// Its path, without a trailing slash.
    prefix: String,
}

/// Bases are the same if their URLs are.
impl PartialEq for Base {
    fn eq(&self, other: &Self) -> bool {
        self.0.url == other.0.url
    }
}

impl Eq for Base {}

impl Base {
    /// Takes a URL of `http` or `https` with a host, and nothing behind its
    /// path; none if it is another.
    pub fn new(url: Url) -> Option<Self> {
        let scheme = match url.scheme() {
            "https" => Scheme::HTTPS,
            "http" => Scheme::HTTP,
            _ => return None,
        };
        let host = url.host_str()?.to_owned();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        Some(Self(Arc::new(Parts {
            scheme,
            authority: authority.parse().ok()?,
            host: host.into(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            url,
        })))
    }

    /// The host's name, which credentials are bound to.
    pub fn host(&self) -> &Arc<str> {
        &self.0.host
    }

    /// The whole path of one below.
    pub fn path_of(&self, path: &str) -> String {
        [self.0.prefix.as_str(), path].concat()
    }

    /// The address of a path below, however the path is written, with `more`
    /// added to its query.
    pub(super) fn below(&self, path: &str, more: Option<&str>) -> Result<Uri, String> {
        let wrong = || {
            format!(
                "path {:?} is not below {}",
                path.chars().take(256).collect::<String>(),
                self.0.url.path()
            )
        };
        let mut written = match is_plain(path) {
            true => self.path_of(path),
            false => self.resolved(path).ok_or_else(wrong)?,
        };
        if let Some(more) = more {
            written.push(if written.contains('?') { '&' } else { '?' });
            written.push_str(more);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.0.scheme.clone());
        parts.authority = Some(self.0.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(written).map_err(|_| wrong())?);
        Uri::from_parts(parts).map_err(|_| wrong())
    }

    /// What a path that is written in another than its plain form means, as
    /// the URL standard reads it; none if that is not below.
    fn resolved(&self, path: &str) -> Option<String> {
        let well_formed = path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains(['#', '\\'])
            && !path.bytes().any(|b| b <= b' ' || b == 0x7f);
        if !well_formed {
            return None;
        }
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let prefix = &self.0.prefix;
        let mut url = self.0.url.clone();
        url.set_path(&format!("{prefix}{path}"));
        url.set_query(query);
        // Dot segments are resolved by now: they must not have led out.
        let below = url.path().strip_prefix(prefix.as_str())?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        })
    }
}

/// Whether a path, with its query, says the same however it is read: no
/// escapes, no dot segments, nothing that a URL would escape.
fn is_plain(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?:@,=&+".contains(&b);
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains("/.")
        && path.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> Base {
        Base::new(Url::parse(url).unwrap()).unwrap()
    }

    #[test]
    fn a_path_stays_below_its_upstream() {
        let api = base("https://api.example.com/v1/");
        let inside = [
            (
                "/chat/completions",
                "https://api.example.com/v1/chat/completions",
            ),
            (
                "/models?limit=2",
                "https://api.example.com/v1/models?limit=2",
            ),
            (
                "/models?q=a%20b'\"",
                "https://api.example.com/v1/models?q=a%20b%27%22",
            ),
            ("/a/../b", "https://api.example.com/v1/b"),
            ("/a/./b/..", "https://api.example.com/v1/a/"),
            ("/.well-known?", "https://api.example.com/v1/.well-known?"),
            ("/é", "https://api.example.com/v1/%C3%A9"),
        ];
        for (path, url) in inside {
            assert_eq!(api.below(path, None).unwrap().to_string(), url);
        }
        let outside = [
            "",
            "x",
            "//evil.example/",
            "/../v2/x",
            "/%2e%2e/x",
            "/a b",
            "/a#b",
            "/\\evil",
            "/..",
            "/x\r\ny",
        ];
        for path in outside {
            let got = api.below(path, None);
            assert!(got.is_err(), "{path:?} gave {got:?}");
        }
        let root = base("https://api.example.com");
        assert_eq!(
            root.below("/v1/x", None).unwrap().to_string(),
            "https://api.example.com/v1/x"
        );
    }

    #[test]
    fn a_query_is_added_to_what_is_there() {
        let base = base("http://[::1]:8080");
        let below = |path| base.below(path, Some("key=k")).unwrap().to_string();
        assert_eq!(below("/x"), "http://[::1]:8080/x?key=k");
        assert_eq!(below("/x?a=b"), "http://[::1]:8080/x?a=b&key=k");
        assert_eq!(&**base.host(), "[::1]");
    }

    #[test]
    fn the_port_of_the_scheme_is_left_out() {
        let of = |url| {
            base(url)
                .below("/", None)
                .unwrap()
                .authority()
                .unwrap()
                .to_string()
        };
        assert_eq!(of("https://h:443/"), "h");
        assert_eq!(of("http://h:443/"), "h:443");
        assert!(Base::new(Url::parse("ftp://h/").unwrap()).is_none());
    }
}
