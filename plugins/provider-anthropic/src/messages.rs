//! The conversation: the hub's messages as Anthropic's system prompt and turns.
//!
//! * What `system` and `developer` say before anybody else becomes `system`.
//!   A later message of theirs stays where it is if the model allows that and
//!   it stands between a user's turn and an assistant's (or the end); else it
//!   is moved to the end of `system`, as Anthropic's own layer for OpenAI's
//!   SDKs does: its place is lost, its authority is not (litellm#39852).
//! * Messages of one role in a row become one turn. Results of tools belong to
//!   the user's turn and stand before anything else in it (adk-rust#279).
//! * What says nothing is left out. If only a system prompt remains, it is
//!   sent as the user's turn, since Anthropic wants one.

use serde_json::{Map, Value, json};

use crate::calls;
use crate::content::{self, Speaker};
use crate::hub::{Hub, Report};
use crate::names;
use crate::refusal::Refusal;

/// What becomes of the messages.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Text blocks of the system prompt.
    pub system: Vec<Value>,
    pub turns: Vec<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    System,
}

/// One turn; it has at least one block.
#[derive(Debug)]
pub struct Turn {
    pub role: Role,
    /// `tool_result` blocks, which come first.
    results: Vec<Value>,
    blocks: Vec<Value>,
}

/// A call of a tool that has not been answered yet.
struct OpenCall {
    id: String,
    name: String,
}

/// Takes and translates the messages. `system_messages` says whether the model
/// allows system messages within the conversation.
pub fn translate(hub: &mut Hub, system_messages: bool) -> Result<Conversation, Refusal> {
    let messages = hub.take_list("messages")?.unwrap_or_default();
    if messages.is_empty() {
        return Err(Refusal::malformed(
            "/messages",
            "expected at least one message",
        ));
    }
    let mut reader = Reader {
        report: &mut hub.report,
        conversation: Conversation::default(),
        open_calls: Vec::new(),
    };
    for (index, message) in messages.into_iter().enumerate() {
        let at = format!("/messages/{index}");
        match message {
            Value::Object(message) => reader.message(&at, message)?,
            _ => return Err(Refusal::malformed(&at, "expected an object")),
        }
    }
    let mut conversation = reader.conversation;
    conversation.settle_system_turns(system_messages);
    if conversation.turns.is_empty() {
        let blocks = std::mem::take(&mut conversation.system);
        conversation.push(Role::User, Vec::new(), blocks);
    }
    if conversation.turns.is_empty() {
        return Err(Refusal::malformed(
            "/messages",
            "expected a message that says something",
        ));
    }
    conversation.trim_end();
    Ok(conversation)
}

struct Reader<'h> {
    report: &'h mut Report,
    conversation: Conversation,
    open_calls: Vec<OpenCall>,
}

impl Reader<'_> {
    fn message(&mut self, at: &str, mut message: Map<String, Value>) -> Result<(), Refusal> {
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        match role.as_str() {
            "system" | "developer" => self.said(at, message, Role::System, Speaker::System),
            "user" => self.said(at, message, Role::User, Speaker::Other),
            "assistant" => self.assistant(at, message),
            "tool" | "function" => self.result(at, &mut message),
            _ => {
                let what = format!("expected a role that OpenAI knows, not {role:?}");
                Err(Refusal::malformed(&format!("{at}/role"), &what))
            }
        }
    }

    fn said(
        &mut self,
        at: &str,
        mut message: Map<String, Value>,
        role: Role,
        speaker: Speaker,
    ) -> Result<(), Refusal> {
        let content = message.remove("content");
        let blocks = content::blocks(&format!("{at}/content"), content, speaker, self.report)?;
        self.say(at, &mut message, role, blocks);
        Ok(())
    }

    fn assistant(&mut self, at: &str, mut message: Map<String, Value>) -> Result<(), Refusal> {
        let mut blocks = signed_thinking(&mut message);
        let shown = message.get("reasoning_content").and_then(Value::as_str);
        if blocks.is_empty() && shown.is_some_and(|text| !text.is_empty()) {
            self.report.drop(format!("{at}/reasoning_content"));
        }
        let content = message.remove("content");
        let at_content = format!("{at}/content");
        blocks.extend(content::blocks(
            &at_content,
            content,
            Speaker::Assistant,
            self.report,
        )?);
        if let Some(Value::String(refusal)) = message.remove("refusal") {
            blocks.extend(content::text(refusal));
        }
        if message
            .remove("audio")
            .is_some_and(|audio| !audio.is_null())
        {
            self.report.drop(format!("{at}/audio"));
        }
        for call in calls::of_message(at, &mut message)? {
            self.open_calls.push(OpenCall {
                id: call.id.clone(),
                name: call.name.clone(),
            });
            blocks.push(call.into_block());
        }
        self.say(at, &mut message, Role::Assistant, blocks);
        Ok(())
    }

    /// The result of a tool: a block of the user's turn.
    fn result(&mut self, at: &str, message: &mut Map<String, Value>) -> Result<(), Refusal> {
        let id = self.answered_call(at, message)?;
        let content = message.remove("content");
        let mut result = json!({"type": "tool_result", "tool_use_id": id});
        let at_content = format!("{at}/content");
        match content {
            Some(Value::String(said)) if !said.trim().is_empty() => result["content"] = said.into(),
            Some(Value::String(_)) => {}
            other => {
                let blocks = content::blocks(&at_content, other, Speaker::Other, self.report)?;
                if !blocks.is_empty() {
                    result["content"] = blocks.into();
                }
            }
        }
        if message.get("is_error") == Some(&Value::Bool(true)) {
            result["is_error"] = true.into();
        }
        content::mark(&mut result, message.remove("cache_control"));
        self.conversation.push(Role::User, vec![result], Vec::new());
        Ok(())
    }

    /// The call that a result belongs to. Legacy `function` messages name the
    /// tool only, and some clients leave the identifier empty: then it is the
    /// first call of that tool, or of any, that has no result yet.
    fn answered_call(&mut self, at: &str, message: &Map<String, Value>) -> Result<String, Refusal> {
        let text = |name| {
            message
                .get(name)
                .and_then(Value::as_str)
                .filter(|t| !t.is_empty())
        };
        let id = text("tool_call_id").map(names::call_id);
        let name = text("name").filter(|_| message["role"] == "function");
        let answered = self.open_calls.iter().position(|call| match (&id, name) {
            (Some(id), _) => call.id == *id,
            (None, Some(name)) => call.name == name,
            (None, None) => true,
        });
        let open = answered.map(|at| self.open_calls.remove(at).id);
        open.or(id).ok_or_else(|| {
            let at = format!("{at}/tool_call_id");
            Refusal::malformed(&at, "expected the identifier of a tool call")
        })
    }

    /// Adds blocks to the conversation, with what belongs to every message.
    fn say(&mut self, at: &str, message: &mut Map<String, Value>, role: Role, blocks: Vec<Value>) {
        let mut blocks = blocks;
        if message
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| !name.is_empty())
        {
            self.report.drop(format!("{at}/name"));
        }
        if let Some(last) = blocks.last_mut() {
            content::mark(last, message.remove("cache_control"));
        }
        if role == Role::System && self.conversation.turns.is_empty() {
            self.conversation.system.extend(blocks);
        } else {
            self.conversation.push(role, Vec::new(), blocks);
        }
    }
}

impl Conversation {
    fn push(&mut self, role: Role, results: Vec<Value>, blocks: Vec<Value>) {
        match self.turns.last_mut() {
            _ if results.is_empty() && blocks.is_empty() => {}
            Some(turn) if turn.role == role => {
                turn.results.extend(results);
                turn.blocks.extend(blocks);
            }
            _ => self.turns.push(Turn {
                role,
                results,
                blocks,
            }),
        }
    }

    /// Leaves system turns where they are allowed and moves the others.
    fn settle_system_turns(&mut self, allowed: bool) {
        let mut turns = std::mem::take(&mut self.turns).into_iter().peekable();
        while let Some(turn) = turns.next() {
            let after_user = self
                .turns
                .last()
                .is_some_and(|turn| turn.role == Role::User);
            let before_answer = turns.peek().is_none_or(|turn| turn.role == Role::Assistant);
            if turn.role == Role::System && !(allowed && after_user && before_answer) {
                self.system.extend(turn.blocks);
            } else {
                self.push(turn.role, turn.results, turn.blocks);
            }
        }
    }

    /// "final assistant content cannot end with trailing whitespace".
    fn trim_end(&mut self) {
        let Some(last) = self
            .turns
            .last_mut()
            .filter(|turn| turn.role == Role::Assistant)
        else {
            return;
        };
        if let Some(block) = last
            .blocks
            .last_mut()
            .filter(|block| block["type"] == "text")
        {
            let trimmed = block["text"]
                .as_str()
                .unwrap_or_default()
                .trim_end()
                .to_owned();
            block["text"] = trimmed.into();
        }
    }

    /// Whether the model is about to go on with a turn of its own that does
    /// not begin with thinking. Anthropic then refuses to think with a budget:
    /// "a final assistant message must start with a thinking block".
    pub fn goes_on_without_thinking(&self) -> bool {
        let last = self.turns.iter().rfind(|turn| turn.role == Role::Assistant);
        let latest = self.turns.iter().rfind(|turn| turn.role != Role::System);
        let goes_on =
            latest.is_some_and(|turn| turn.role == Role::Assistant || !turn.results.is_empty());
        let thinks = |turn: &Turn| {
            let first = turn.blocks.first().map(|block| &block["type"]);
            first.is_some_and(|kind| kind == "thinking" || kind == "redacted_thinking")
        };
        goes_on && last.is_some_and(|turn| !thinks(turn))
    }

    /// The names of the tools that were called, each once.
    pub fn called_tools(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for block in self.turns.iter().flat_map(|turn| &turn.blocks) {
            if block["type"] == "tool_use"
                && let Some(name) = block["name"].as_str()
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// `system`: a string where that says it all.
    pub fn system_member(&self) -> Option<Value> {
        match self.system.as_slice() {
            [] => None,
            [only] if only.get("cache_control").is_none() => Some(only["text"].clone()),
            blocks => Some(blocks.to_vec().into()),
        }
    }
}

impl Turn {
    /// The turn as a member of `messages`.
    pub fn into_message(self) -> Value {
        let role = match self.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        let mut content = self.results;
        content.extend(self.blocks);
        let mut message = json!({"role": role});
        message["content"] = content.into();
        message
    }
}

/// The signed reasoning that a message brings back, untouched (dify#41092).
fn signed_thinking(message: &mut Map<String, Value>) -> Vec<Value> {
    let Some(Value::Array(blocks)) = message.remove("thinking_blocks") else {
        return Vec::new();
    };
    blocks
        .iter()
        .filter_map(Value::as_object)
        .filter_map(content::thinking)
        .collect()
}
