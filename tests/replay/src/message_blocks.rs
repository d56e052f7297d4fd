//! What is inside the blocks of Anthropic's messages.
//!
//! `message_history` calls it for each block.

use serde_json::{Map, Value};

use crate::check::{Judge, is_base64, is_link, is_name, join, lists, present};
use crate::refusal::Refusal;
use crate::transcripts::Transcripts;

/// Blocks whose inside is not looked at: tools that run on Anthropic's side.
const SERVER_BLOCKS: &str = "search_result server_tool_use web_search_tool_result \
                             web_fetch_tool_result code_execution_tool_result \
                             bash_code_execution_tool_result \
                             text_editor_code_execution_tool_result tool_search_tool_result \
                             container_upload mcp_tool_use mcp_tool_result compaction \
                             tool_reference tool_addition \
                             tool_removal";

/// Judges blocks.
#[derive(Debug)]
pub struct Blocks<'rules> {
    /// With Anthropic's eyes.
    pub judge: Judge,
    /// Knows which signatures were given out.
    pub transcripts: &'rules Transcripts,
}

impl Blocks<'_> {
    /// Judges one block of a message of this role.
    pub fn block(
        &self,
        block: &Map<String, Value>,
        (place, role): (&str, &str),
    ) -> Result<(), Refusal> {
        let judge = self.judge;
        let kind = judge.text(judge.need(block, place, "type")?, &join(place, "type"))?;
        let speakers = match kind {
            "text" => "user assistant system",
            "tool_use" | "thinking" | "redacted_thinking" => "assistant",
            "image" | "document" | "tool_result" => "user",
            _ if lists(SERVER_BLOCKS, kind) => return Ok(()),
            _ => {
                let what = format!(
                    "Input tag '{kind}' found using 'type' does not match any of the expected tags"
                );
                return Err(judge.no(place, what));
            }
        };
        if !lists(speakers, role) {
            let what = format!("`{kind}` blocks can only be in `{speakers}` messages");
            return Err(judge.no(place, what));
        }
        if let Some(cache) = present(block, "cache_control") {
            self.cache_control(cache, &join(place, "cache_control"))?;
        }
        match kind {
            "text" => self.text(block, place),
            "image" => self.image(block, place),
            "document" => self.document(block, place),
            "thinking" => self.thinking(block, place),
            "redacted_thinking" => self.redacted(block, place),
            "tool_result" => self.result(block, place),
            _ => Ok(()),
        }
    }

    fn cache_control(&self, value: &Value, place: &str) -> Result<(), Refusal> {
        let object = self.judge.object(value, place)?;
        self.judge.only(object, place, "type ttl")?;
        if object.get("type").is_some_and(|kind| kind == "ephemeral") {
            return Ok(());
        }
        Err(self
            .judge
            .no(&join(place, "type"), "Input should be 'ephemeral'"))
    }

    fn text(&self, block: &Map<String, Value>, place: &str) -> Result<(), Refusal> {
        let judge = self.judge;
        judge.only(block, place, "type text cache_control citations")?;
        let text = judge.text(judge.need(block, place, "text")?, &join(place, "text"))?;
        // anthropic-sdk-python#461
        if text.is_empty() {
            return Err(judge.no("messages", "text content blocks must be non-empty"));
        }
        if text.trim().is_empty() {
            let what = "text content blocks must contain non-whitespace text";
            return Err(judge.no("messages", what));
        }
        Ok(())
    }

    fn image(&self, block: &Map<String, Value>, place: &str) -> Result<(), Refusal> {
        self.judge
            .only(block, place, "type source cache_control transformations")?;
        self.source(block, place, "image/jpeg image/png image/gif image/webp")
    }

    fn document(&self, block: &Map<String, Value>, place: &str) -> Result<(), Refusal> {
        self.judge.only(
            block,
            place,
            "type source cache_control title context citations",
        )?;
        self.source(block, place, "application/pdf")
    }

    /// Where an image or a document comes from.
    fn source(
        &self,
        block: &Map<String, Value>,
        place: &str,
        media_types: &str,
    ) -> Result<(), Refusal> {
        let judge = self.judge;
        let source = judge.object(judge.need(block, place, "source")?, &join(place, "source"))?;
        let place = join(place, "source");
        let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
        let sound = match text("type") {
            "base64" => {
                judge.only(source, &place, "type media_type data")?;
                if !lists(media_types, text("media_type")) {
                    let what = format!("Input should be one of: {media_types}");
                    return Err(judge.no(&format!("{place}.base64.media_type"), what));
                }
                is_base64(text("data"))
            }
            "url" => {
                judge.only(source, &place, "type url")?;
                is_link(text("url"))
            }
            "file" => !text("file_id").is_empty(),
            "text" | "content" => lists(media_types, "application/pdf"),
            _ => false,
        };
        if sound {
            Ok(())
        } else {
            Err(judge.no(&place, "is no source that can be read"))
        }
    }

    /// A thinking block comes back as it was given out, or not at all.
    fn thinking(&self, block: &Map<String, Value>, place: &str) -> Result<(), Refusal> {
        let judge = self.judge;
        judge.only(block, place, "type thinking signature")?;
        let text = judge.text(
            judge.need(block, place, "thinking")?,
            &join(place, "thinking"),
        )?;
        let signature = judge.need(block, place, "signature")?;
        let signature = judge.text(signature, &join(place, "signature"))?;
        match self.transcripts.signed_text(signature) {
            None => Err(judge.no(place, "Invalid `signature` in `thinking` block")),
            Some(signed) if signed == text => Ok(()),
            Some(_) => Err(judge.no(
                place,
                "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot \
                 be modified. These blocks must remain as they were in the original response.",
            )),
        }
    }

    fn redacted(&self, block: &Map<String, Value>, place: &str) -> Result<(), Refusal> {
        let judge = self.judge;
        judge.only(block, place, "type data")?;
        let data = judge.text(judge.need(block, place, "data")?, &join(place, "data"))?;
        if self.transcripts.has_redacted(data) {
            return Ok(());
        }
        Err(judge.no(place, "Invalid `data` in `redacted_thinking` block"))
    }

    /// The identifier of a tool call.
    pub fn call<'json>(
        &self,
        block: &'json Map<String, Value>,
        place: &str,
    ) -> Result<&'json str, Refusal> {
        let judge = self.judge;
        let place = join(place, "tool_use");
        judge.only(
            block,
            &place,
            "type id name input cache_control caller toolset_name",
        )?;
        let id = judge.text(judge.need(block, &place, "id")?, &join(&place, "id"))?;
        if !is_name(id) {
            let what = "String should match pattern '^[a-zA-Z0-9_-]+$'";
            return Err(judge.no(&join(&place, "id"), what));
        }
        judge.name(
            judge.need(block, &place, "name")?,
            &join(&place, "name"),
            200,
        )?;
        judge.object(judge.need(block, &place, "input")?, &join(&place, "input"))?;
        Ok(id)
    }

    fn result(&self, block: &Map<String, Value>, place: &str) -> Result<(), Refusal> {
        let judge = self.judge;
        let known = "type tool_use_id content is_error cache_control toolset_name";
        judge.only(block, place, known)?;
        if block
            .get("is_error")
            .is_some_and(|value| !value.is_boolean())
        {
            return Err(judge.no(&join(place, "is_error"), "Input should be a valid boolean"));
        }
        let place = join(place, "content");
        let Some(list) = present(block, "content").filter(|content| !content.is_string()) else {
            return Ok(());
        };
        for (index, inner) in judge.list(list, &place)?.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let inner = judge.object(inner, &place)?;
            if inner.get("type").is_some_and(|kind| kind == "tool_result") {
                return Err(judge.no(&place, "`tool_result` blocks cannot be nested"));
            }
            self.block(inner, (&place, "user"))?;
        }
        Ok(())
    }
}
