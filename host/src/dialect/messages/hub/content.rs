//! Content blocks as content parts.

use serde_json::{Value, json};

use super::Translation;
use super::node::Node;
use crate::dialect::InvalidRequest;

/// Content parts of one message.
#[derive(Default)]
pub struct Parts(Vec<Value>);

impl Parts {
    /// Adds what a block says. A block that the hub has no place for is
    /// reported; so is one of an unknown kind, which Anthropic may have added.
    pub fn add(&mut self, node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
        match node.kind()? {
            "text" => {
                self.add_text(node.string_at("text")?);
                self.cache_last(node);
            }
            "image" => {
                if let Some(transformations) = node.get("transformations") {
                    to.drop_setting(&transformations);
                }
                self.0.push(image(&node.require("source")?)?);
                self.cache_last(node);
            }
            "document" => self.document(node, to)?,
            "search_result" => self.search_result(node, to)?,
            _ => to.drop(node),
        }
        Ok(())
    }

    /// Providers refuse empty texts (anthropic-sdk-python#461).
    fn add_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.push(json!({"type": "text", "text": text}));
        }
    }

    /// Marks the last part as the end of a cached prefix, if the block was.
    fn cache_last(&mut self, node: &Node<'_>) {
        if let (Some(last), Some(cache_control)) = (self.0.last_mut(), node.get("cache_control")) {
            last["cache_control"] = cache_control.value.clone();
        }
    }

    fn document(&mut self, node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
        if let Some(citations) = node.get("citations")
            && citations
                .get("enabled")
                .is_some_and(|flag| *flag.value == Value::Bool(true))
        {
            to.drop(&citations);
        }
        let title = node.get("title").map(|title| title.string()).transpose()?;
        let context = node
            .get("context")
            .map(|context| context.string())
            .transpose()?;
        let source = node.require("source")?;
        match source.kind()? {
            "text" => {
                self.add_text(&heading([title, context]));
                self.add_text(source.string_at("data")?);
            }
            "content" => {
                self.add_text(&heading([title, context]));
                self.nested(&source.require("content")?, to)?;
            }
            _ => {
                self.add_text(context.unwrap_or_default());
                self.0
                    .push(json!({"type": "file", "file": file(&source, title)?}));
            }
        }
        self.cache_last(node);
        Ok(())
    }

    fn search_result(
        &mut self,
        node: &Node<'_>,
        to: &mut Translation,
    ) -> Result<(), InvalidRequest> {
        let title = node.get("title").map(|title| title.string()).transpose()?;
        let source = node
            .get("source")
            .map(|source| source.string())
            .transpose()?;
        self.add_text(&heading([title, source]));
        self.nested(&node.require("content")?, to)?;
        self.cache_last(node);
        Ok(())
    }

    /// Content within content: a string, or blocks.
    fn nested(&mut self, node: &Node<'_>, to: &mut Translation) -> Result<(), InvalidRequest> {
        if let Some(text) = node.value.as_str() {
            self.add_text(text);
            return Ok(());
        }
        for block in node.elements()? {
            self.add(&block, to)?;
        }
        Ok(())
    }

    /// Moves files elsewhere.
    pub fn move_files(&mut self, elsewhere: &mut Self) {
        elsewhere
            .0
            .extend(self.0.extract_if(.., |part| part["type"] == "file"));
    }

    /// The content of a message; none if there is nothing. One plain text is a
    /// string, since not every server reads parts.
    pub fn into_content(self) -> Option<Value> {
        match self.0.as_slice() {
            [] => None,
            [part] if part["type"] == "text" && part.get("cache_control").is_none() => {
                Some(part["text"].clone())
            }
            _ => Some(Value::Array(self.0)),
        }
    }
}

/// What stands above a text that has a title.
fn heading(lines: [Option<&str>; 2]) -> String {
    lines
        .into_iter()
        .flatten()
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn image(source: &Node<'_>) -> Result<Value, InvalidRequest> {
    let url = match source.kind()? {
        "base64" => data_url(source)?,
        "url" => source.string_at("url")?.to_owned(),
        "file" => {
            let id = source.string_at("file_id")?;
            return Ok(json!({"type": "file", "file": {"file_id": id}}));
        }
        kind => return Err(unknown_source(source, kind)),
    };
    Ok(json!({"type": "image_url", "image_url": {"url": url}}))
}

/// The `file` of a file part. OpenAI demands a name beside data.
fn file(source: &Node<'_>, title: Option<&str>) -> Result<Value, InvalidRequest> {
    let data = match source.kind()? {
        "base64" => data_url(source)?,
        "url" => source.string_at("url")?.to_owned(),
        "file" => return Ok(json!({"file_id": source.string_at("file_id")?})),
        kind => return Err(unknown_source(source, kind)),
    };
    Ok(json!({"filename": title.unwrap_or("document.pdf"), "file_data": data}))
}

fn unknown_source(source: &Node<'_>, kind: &str) -> InvalidRequest {
    source.invalid(&format!("source type \"{kind}\" is not known"))
}

fn data_url(source: &Node<'_>) -> Result<String, InvalidRequest> {
    let (media_type, data) = (source.string_at("media_type")?, source.string_at("data")?);
    Ok(format!("data:{media_type};base64,{data}"))
}

/// A call of a tool in the conversation.
pub fn tool_call(node: &Node<'_>) -> Result<Value, InvalidRequest> {
    let (id, name) = (node.string_at("id")?, node.string_at("name")?);
    let arguments = match node.get("input").map(|input| input.value) {
        None => "{}".to_owned(),
        // Some clients keep malformed arguments as they came.
        Some(Value::String(text)) => text.clone(),
        Some(input) => input.to_string(),
    };
    Ok(json!({
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }))
}
