//! The order of things in Anthropic's messages: who may speak when, and that
//! each tool call has its result in the very next message.
//!
//! `messages` calls it; what is inside a block is in `message_blocks`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::check::{Judge, join, lists};
use crate::message_blocks::Blocks;
use crate::refusal::Refusal;
use crate::transcripts::Transcripts;

/// Judges the messages one by one and in their order.
pub fn check(
    judge: Judge,
    messages: &[Value],
    thinks: bool,
    transcripts: &Transcripts,
) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Err(judge.no("messages", "at least one message is required"));
    }
    let history = History { judge, thinks };
    let inside = Blocks { judge, transcripts };
    let mut calls: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        let place = format!("messages[{index}]");
        let message = judge.object(message, &place)?;
        judge.only(message, &place, "role content")?;
        let role = judge.text(judge.need(message, &place, "role")?, &join(&place, "role"))?;
        history.role(role, index, messages)?;
        let last = index + 1 == messages.len();
        let blocks = history.content(message, (&place, role), last)?;
        let content = join(&place, "content");
        history.results(&blocks, &calls, (&content, index))?;
        calls.clear();
        for (index, block) in blocks.iter().enumerate() {
            let place = format!("{content}[{index}]");
            inside.block(block, (&place, role))?;
            if block.get("type").is_some_and(|kind| kind == "tool_use") {
                let id = inside.call(block, &place)?;
                if !ids.insert(id) {
                    return Err(judge.no("messages", "`tool_use` ids must be unique"));
                }
                calls.push(id);
            }
        }
    }
    history.unanswered(&calls, messages.len() - 1)?;
    history.thinks_before_calls(messages)
}

struct History {
    judge: Judge,
    thinks: bool,
}

impl History {
    /// Users begin. Two messages of one role in a row are joined by Anthropic,
    /// so they are allowed; an instruction in mid-conversation has its place:
    /// behind a user's message, and last or before an assistant's
    /// (bifrost#3945).
    fn role(&self, role: &str, index: usize, messages: &[Value]) -> Result<(), Refusal> {
        let judge = self.judge;
        let neighbour = |index: Option<usize>| messages.get(index?)?.get("role")?.as_str();
        match role {
            "user" => Ok(()),
            _ if index == 0 => {
                let message = match role {
                    "system" => {
                        "messages: Unexpected role \"system\". The Messages API accepts a \
                         top-level `system` parameter, not \"system\" as an input message role."
                    }
                    _ => "messages: first message must use the \"user\" role",
                };
                Err(judge.refuse("messages", message))
            }
            "assistant" => Ok(()),
            "system" => {
                let before = neighbour(index.checked_sub(1));
                let after = neighbour(Some(index + 1));
                if before == Some("user") && after.is_none_or(|role| role == "assistant") {
                    return Ok(());
                }
                let what = "a system message must follow a user message, and be the last or be \
                            followed by an assistant message";
                Err(judge.no(&format!("messages[{index}]"), what))
            }
            _ => {
                let what = "Input should be 'user' or 'assistant'";
                Err(judge.no(&format!("messages[{index}].role"), what))
            }
        }
    }

    /// The blocks of a message; none if its content is a string.
    fn content<'json>(
        &self,
        message: &'json Map<String, Value>,
        (place, role): (&str, &str),
        last: bool,
    ) -> Result<Vec<&'json Map<String, Value>>, Refusal> {
        let judge = self.judge;
        let content = judge.need(message, place, "content")?;
        let place = join(place, "content");
        let final_turn = last && role == "assistant";
        let empty = || {
            judge.no(
                &place,
                format!("{role} messages must have non-empty content"),
            )
        };
        if let Some(text) = content.as_str() {
            if text.is_empty() && !final_turn {
                return Err(empty());
            }
            if !text.is_empty() && text.trim().is_empty() {
                let what = "text content blocks must contain non-whitespace text";
                return Err(judge.no("messages", what));
            }
            self.final_text(text, final_turn)?;
            return Ok(Vec::new());
        }
        let list = judge.list(content, &place)?;
        if list.is_empty() && !final_turn {
            return Err(empty());
        }
        if let Some(text) = list.last().and_then(|block| block["text"].as_str()) {
            self.final_text(text, final_turn)?;
        }
        list.iter()
            .map(|block| judge.object(block, &place))
            .collect()
    }

    fn final_text(&self, text: &str, final_turn: bool) -> Result<(), Refusal> {
        if final_turn && text.ends_with(char::is_whitespace) {
            let what = "final assistant content cannot end with trailing whitespace";
            return Err(self.judge.no("messages", what));
        }
        Ok(())
    }

    /// The results of the calls before come first in a message, all of them
    /// and no others (adk-rust#279).
    fn results(
        &self,
        blocks: &[&Map<String, Value>],
        calls: &[&str],
        (place, index): (&str, usize),
    ) -> Result<(), Refusal> {
        let is_result = |block: &Map<String, Value>| {
            block.get("type").is_some_and(|kind| kind == "tool_result")
        };
        let leading = blocks.iter().take_while(|block| is_result(block)).count();
        let answered: Vec<&str> = blocks[..leading]
            .iter()
            .filter_map(|block| block.get("tool_use_id")?.as_str())
            .collect();
        let open: Vec<&str> = calls
            .iter()
            .copied()
            .filter(|id| !answered.contains(id))
            .collect();
        self.unanswered(&open, index.saturating_sub(1))?;
        for (at, block) in blocks
            .iter()
            .enumerate()
            .filter(|(_, block)| is_result(block))
        {
            let id = block
                .get("tool_use_id")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if at >= leading
                || !calls.contains(&id)
                || answered.iter().filter(|own| **own == id).count() != 1
            {
                let what = format!(
                    "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                     `tool_result` block must have a corresponding `tool_use` block in the \
                     previous message."
                );
                return Err(self.judge.no(&format!("{place}[{at}]"), what));
            }
        }
        Ok(())
    }

    fn unanswered(&self, calls: &[&str], index: usize) -> Result<(), Refusal> {
        if calls.is_empty() {
            return Ok(());
        }
        let what = format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            calls.join(", ")
        );
        Err(self.judge.no(&format!("messages[{index}]"), what))
    }

    /// With thinking, the turn that called tools begins with what was thought
    /// before the calls, or the model cannot go on with it.
    fn thinks_before_calls(&self, messages: &[Value]) -> Result<(), Refusal> {
        let Some(index) = messages
            .iter()
            .rposition(|message| message["role"] == "assistant")
        else {
            return Ok(());
        };
        let blocks = messages[index]["content"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let calls = blocks.iter().any(|block| block["type"] == "tool_use");
        let first = blocks
            .first()
            .and_then(|block| block["type"].as_str())
            .unwrap_or_default();
        if !self.thinks || !calls || lists("thinking redacted_thinking", first) {
            return Ok(());
        }
        let what = format!(
            "Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is \
             enabled, a final `assistant` message must start with a thinking block (preceeding \
             the lastmost set of `tool_use` and `tool_result` blocks)."
        );
        Err(self
            .judge
            .no(&format!("messages[{index}].content[0].type"), what))
    }
}
