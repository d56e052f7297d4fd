//! What a request carries to the provider besides its body: the path, and
//! those header fields of the client's that are about the request itself.

/// Header fields that describe the request's body, or the answer's.
///
/// Nothing else of the client's is sent: no credential (the host has the
/// provider's), no cookie, and nothing that tells who the client is, as
/// `user-agent`, `x-stainless-*` and `x-forwarded-*` do. `accept-encoding` is
/// the host's, which decodes what comes back.
const ABOUT_THE_REQUEST: [&str; 9] = [
    "accept",
    "accept-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
];

/// A header field, as in the contract.
pub type Header = (String, Vec<u8>);

/// Query parameters that some clients put a key in. The host has the
/// provider's, and the client's is nobody else's business.
const CREDENTIALS: [&str; 4] = ["key", "api_key", "api-key", "access_token"];

/// The path and query below the upstream's base URL, which ends in the version
/// (`https://api.openai.com/v1`): the client's without its leading `/v1`, and
/// without a key in the query.
pub fn path(client: &str, query: Option<&str>) -> String {
    let path = match client.strip_prefix("/v1") {
        Some(rest) if rest.starts_with('/') => rest,
        Some("") => "/",
        _ => client,
    };
    let is_key = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default();
        CREDENTIALS.iter().any(|key| key.eq_ignore_ascii_case(name))
    };
    let parameters = query.unwrap_or_default().split('&');
    let kept: Vec<_> = parameters.filter(|p| !p.is_empty() && !is_key(p)).collect();
    if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    }
}

/// The client's header fields that go to the provider: those about the request
/// itself, and those that `also` names.
pub fn headers(client: Vec<Header>, also: impl Fn(&str) -> bool) -> Vec<Header> {
    let goes = |name: &str| ABOUT_THE_REQUEST.contains(&name) || also(name);
    client.into_iter().filter(|(name, _)| goes(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::{headers, path};

    #[test]
    fn the_version_is_in_the_base_url() {
        let cases = [
            ("/v1/chat/completions", None, "/chat/completions"),
            (
                "/v1/files",
                Some("limit=2&after=a%2Fb"),
                "/files?limit=2&after=a%2Fb",
            ),
            ("/v1", None, "/"),
            ("/v1beta/models", None, "/v1beta/models"),
            ("/models", Some(""), "/models"),
            ("/v1/files", Some("key=secret"), "/files"),
            (
                "/v1/files",
                Some("a=1&API_KEY=secret&monkey=2"),
                "/files?a=1&monkey=2",
            ),
            ("/v1/v1/x", None, "/v1/x"),
        ];
        for (client, query, expected) in cases {
            assert_eq!(path(client, query), expected);
        }
    }

    #[test]
    fn only_what_is_about_the_request_goes() {
        let client = [
            "accept",
            "authorization",
            "content-type",
            "cookie",
            "openai-beta",
            "range",
            "user-agent",
            "x-forwarded-for",
            "x-stainless-lang",
        ];
        let client = client.map(|name| (name.to_owned(), b"1".to_vec())).to_vec();
        let sent = headers(client, |name| name == "openai-beta");
        let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept", "content-type", "openai-beta", "range"]);
    }
}
