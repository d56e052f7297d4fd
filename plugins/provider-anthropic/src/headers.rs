//! The header fields of requests to Anthropic. Credentials are the host's.

use crate::config::Config;

/// A header field, as the contract has it.
pub type Header = (String, Vec<u8>);

/// Reads the fields of the client's request.
pub trait Fields {
    /// All values of a field, in order.
    fn values(&self, name: &str) -> Vec<Vec<u8>>;

    /// The first value, if it is text.
    fn text(&self, name: &str) -> Option<String> {
        String::from_utf8(self.values(name).into_iter().next()?)
            .ok()
            .filter(|text| !text.is_empty())
    }
}

/// The API version: the client's, or the configured one.
pub fn version(client: &impl Fields, config: &Config) -> String {
    client
        .text("anthropic-version")
        .unwrap_or_else(|| config.version.clone())
}

/// The fields of a request with a JSON body of ours or the client's.
pub fn json(client: &impl Fields, config: &Config, betas: &[&str], streaming: bool) -> Vec<Header> {
    let accept = if streaming {
        "text/event-stream"
    } else {
        "application/json"
    };
    let mut headers = vec![
        field("content-type", "application/json"),
        field("accept", accept),
    ];
    headers.extend(anthropic(client, config, betas));
    headers
}

/// The fields of a request that is passed through.
pub fn pass_through(client: &impl Fields, config: &Config) -> Vec<Header> {
    let mut headers = Vec::new();
    for name in ["content-type", "accept"] {
        // As bytes: a multipart boundary is the client's own.
        headers.extend(
            client
                .values(name)
                .into_iter()
                .map(|value| (name.to_owned(), value)),
        );
    }
    headers.extend(anthropic(client, config, &[]));
    headers
}

/// Anthropic's own fields. Betas may come in several fields, each a list.
fn anthropic(client: &impl Fields, config: &Config, needed: &[&str]) -> Vec<Header> {
    let mut headers = vec![field("anthropic-version", &version(client, config))];
    let mut betas: Vec<String> = Vec::new();
    let asked = client.values("anthropic-beta");
    let asked = asked
        .iter()
        .filter_map(|value| std::str::from_utf8(value).ok());
    let configured = config.betas.iter().map(String::as_str);
    for beta in asked
        .flat_map(|list| list.split(','))
        .chain(configured)
        .chain(needed.iter().copied())
    {
        let beta = beta.trim();
        if !beta.is_empty() && !betas.iter().any(|known| known == beta) {
            betas.push(beta.to_owned());
        }
    }
    if !betas.is_empty() {
        headers.push(field("anthropic-beta", &betas.join(",")));
    }
    headers
}

fn field(name: &str, value: &str) -> Header {
    (name.to_owned(), value.as_bytes().to_vec())
}
