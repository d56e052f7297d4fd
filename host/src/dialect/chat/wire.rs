//! The JSON of chat completions that we write.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::{FinishReason, Usage};

/// One event of a stream: `chat.completion.chunk`.
#[derive(Serialize)]
pub struct Chunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    /// Members of the chunk itself that the upstream's answer had.
    #[serde(flatten)]
    pub members: &'a Map<String, Value>,
    pub choices: &'a [ChunkChoice<'a>],
    /// Absent unless asked for, and then null in every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<UsageBody>>,
}

#[derive(Serialize)]
pub struct ChunkChoice<'a> {
    pub index: u32,
    pub delta: Delta<'a>,
    pub logprobs: Option<Value>,
    pub finish_reason: Option<&'static str>,
    /// Members of the choice that the upstream's answer had.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

impl<'a> ChunkChoice<'a> {
    pub fn new(index: u32, delta: Delta<'a>) -> Self {
        Self {
            index,
            delta,
            logprobs: None,
            finish_reason: None,
            members: Map::new(),
        }
    }
}

/// What a chunk adds to a choice's message.
#[derive(Serialize, Default)]
pub struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Null only beside the role, where the answer does not begin with text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_blocks: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[CallDelta<'a>; 1]>,
    /// Members of the message that the upstream's answer had.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

#[derive(Serialize)]
pub struct CallDelta<'a> {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub function: FunctionDelta<'a>,
}

#[derive(Serialize)]
pub struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}

/// A whole answer: `chat.completion`.
#[derive(Serialize)]
pub struct Completion<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    #[serde(flatten)]
    pub members: &'a Map<String, Value>,
    pub choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
}

#[derive(Serialize)]
pub struct CompletionChoice {
    pub index: u32,
    pub message: Message,
    pub logprobs: Option<Value>,
    pub finish_reason: &'static str,
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

#[derive(Serialize)]
pub struct Message {
    pub role: &'static str,
    pub content: Option<String>,
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thinking_blocks: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

/// OpenAI's `usage`, where the prompt's tokens include cached ones.
#[derive(Serialize)]
pub struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl UsageBody {
    /// What the provider did not count is shown as 0, because the schema has
    /// no other way to say so.
    pub fn of(usage: &Usage) -> Self {
        let prompt_tokens = usage.input_tokens.unwrap_or(0);
        let completion_tokens = usage.output_tokens.unwrap_or(0);
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cache_read_tokens.unwrap_or(0),
                audio_tokens: 0,
                cache_write_tokens: usage.cache_write_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens.unwrap_or(0),
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

/// The `finish_reason` of a choice. A paused turn has no name here; the client
/// sees an answer that stopped.
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Pause => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

/// Where a member that an `other` event names belongs in an answer. Decoders
/// name it only, so the place of what OpenAI and the servers that follow it
/// have beside the message is listed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside `id` and `model`.
    Answer,
    /// Beside the message or delta.
    Choice,
    /// `logprobs`, which are beside the message too, but always there.
    Logprobs,
    /// Entries of `tool_calls` that are no calls of functions.
    Calls,
    /// In the message or delta.
    Message,
    /// Nowhere: what events do express, a second time.
    Nowhere,
}

/// The place of a member, by its name.
pub fn place(name: &str) -> Place {
    match name {
        "system_fingerprint"
        | "service_tier"
        | "moderation"
        | "prompt_filter_results"
        | "provider"
        | "citations"
        | "search_results"
        | "time_info" => Place::Answer,
        "content_filter_results" | "content_filter_offsets" | "native_finish_reason" => {
            Place::Choice
        }
        "logprobs" => Place::Logprobs,
        "tool_calls" => Place::Calls,
        "id" | "object" | "created" | "model" | "choices" | "usage" | "index" | "delta"
        | "message" | "finish_reason" | "role" | "content" | "refusal" | "reasoning_content"
        | "thinking_blocks" => Place::Nowhere,
        _ => Place::Message,
    }
}
