//! The edits that the configuration asks for, whoever the client is. Each is
//! one splice into the body's bytes, and what they do not name stays as it is.

use crate::config::{Config, MaxTokens};

/// A change to the body.
#[derive(Debug, PartialEq)]
pub enum Edit<'a> {
    /// Writes JSON at a pointer.
    Set(&'a str, String),
    Remove(&'a str),
    /// Removes what the client asked for, and tells it so.
    Drop(&'a str),
}

/// The edits, in order; `get` gives the JSON text at a pointer of the body.
pub fn edits(
    config: &Config,
    is_chat: bool,
    get: impl Fn(&str) -> Option<String>,
) -> Vec<Edit<'_>> {
    let mut edits = Vec::new();
    if let Some(prefix) = &config.strip_prefix
        && let Some(json) = get("/model")
        && let Ok(model) = serde_json::from_str::<String>(&json)
        && let Some(rest) = model.strip_prefix(prefix.as_str())
        && !rest.is_empty()
    {
        edits.push(Edit::Set(
            "/model",
            serde_json::Value::from(rest).to_string(),
        ));
    }
    if !is_chat {
        return edits;
    }
    if let Some(name) = config.max_tokens {
        let (name, other) = match name {
            MaxTokens::Older => ("/max_tokens", "/max_completion_tokens"),
            MaxTokens::Newer => ("/max_completion_tokens", "/max_tokens"),
        };
        if let Some(limit) = get(other) {
            if get(name).is_none_or(|json| json == "null") {
                edits.push(Edit::Set(name, limit));
            }
            edits.push(Edit::Remove(other));
        }
    }
    for pointer in &config.drop {
        match get(pointer).as_deref() {
            None => {}
            // It asks for nothing, and yet the server may refuse its name.
            Some("null") => edits.push(Edit::Remove(pointer)),
            Some(_) => edits.push(Edit::Drop(pointer)),
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Edit, edits};
    use crate::config::{Config, MaxTokens};

    #[test]
    fn edits_follow_the_configuration() {
        let config = Config {
            strip_prefix: Some("openai/".into()),
            max_tokens: Some(MaxTokens::Older),
            drop: vec!["/user".into(), "/stream_options/include_usage".into()],
            ..Config::default()
        };
        let newer = Config {
            max_tokens: Some(MaxTokens::Newer),
            ..Config::default()
        };
        let set = |pointer, json: &str| Edit::Set(pointer, json.to_owned());
        let cases: [(&Config, Value, Vec<Edit>); 8] = [
            (
                &config,
                json!({"model": "openai/gpt"}),
                vec![set("/model", "\"gpt\"")],
            ),
            (
                &config,
                json!({"model": "openai/", "max_tokens": 1}),
                vec![],
            ),
            (&config, json!({"model": 7}), vec![]),
            (
                &config,
                json!({"max_completion_tokens": 5}),
                vec![
                    set("/max_tokens", "5"),
                    Edit::Remove("/max_completion_tokens"),
                ],
            ),
            (
                &config,
                json!({"max_completion_tokens": 5, "max_tokens": 6}),
                vec![Edit::Remove("/max_completion_tokens")],
            ),
            (
                &newer,
                json!({"max_completion_tokens": null, "max_tokens": 6}),
                vec![
                    set("/max_completion_tokens", "6"),
                    Edit::Remove("/max_tokens"),
                ],
            ),
            (
                &config,
                json!({"user": "u", "stream_options": {"include_usage": null}}),
                vec![
                    Edit::Drop("/user"),
                    Edit::Remove("/stream_options/include_usage"),
                ],
            ),
            (
                &Config::default(),
                json!({"model": "openai/gpt", "max_tokens": 1}),
                vec![],
            ),
        ];
        for (config, body, expected) in cases {
            let get = |pointer: &str| body.pointer(pointer).map(Value::to_string);
            assert_eq!(edits(config, true, get), expected, "{body}");
        }
    }

    #[test]
    fn other_paths_keep_all_but_the_prefix() {
        let config = Config {
            strip_prefix: Some("a/".into()),
            max_tokens: Some(MaxTokens::Older),
            drop: vec!["/user".into()],
            ..Config::default()
        };
        let body = json!({"model": "a/b", "user": "u", "max_completion_tokens": 1});
        let get = |pointer: &str| body.pointer(pointer).map(Value::to_string);
        assert_eq!(
            edits(&config, false, get),
            [Edit::Set("/model", "\"b\"".into())]
        );
    }
}
