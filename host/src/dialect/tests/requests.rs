//! Reading requests.

use serde_json::{Value, json};

use super::*;
use crate::dialect::Text;
use crate::json::Json;

/// Checks that these texts are found in a body, in this order: role, pointer,
/// content.
fn assert_texts(dialect: &str, body: &Value, expected: &[(&str, &str, &str)]) {
    let json = Json::new(body.to_string().into());
    let (dialect, root) = (by_name(dialect).unwrap(), json.root().unwrap());
    let texts = dialect.texts(root);
    let contents: Vec<_> = texts.iter().map(Text::content).collect();
    let found: Vec<_> = texts
        .iter()
        .zip(&contents)
        .map(|(text, content)| (&*text.role, &*text.pointer, &**content))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(dialect.contents(root).joined(), contents.concat());
    for (_, pointer, content) in found {
        assert_eq!(body.pointer(pointer), Some(&json!(content)), "{pointer}");
    }
}

#[test]
fn texts_of_a_chat_request() {
    let body = json!({
        "model": "m",
        "messages": [
            {"role": "developer", "content": "d"},
            {"role": "system", "name": "boss", "content": [{"type": "text", "text": "s"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "u"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                {"type": "file", "file": {"filename": "f.pdf", "file_data": "data:;base64,AA"}},
                {"type": "novel", "id": "n1", "a/b~c": {"words": ["new words", ""]}},
                "bare",
            ]},
            {"role": "assistant", "content": null, "refusal": "r", "reasoning_content": "t",
             "thinking_blocks": [{"type": "thinking", "thinking": "tb", "signature": "zz"}],
             "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"q\":1}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "k", "input": "i"}},
             ]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "rp"}],
             "function_call": {"name": "old", "arguments": "oa"}},
            {"role": "tool", "tool_call_id": "c1", "content": "tool says"},
            {"role": "function", "name": "old", "content": "function says"},
            {"role": "critic", "content": "c"},
            {"content": "nobody"},
            "not a message",
        ],
        "tools": [
            {"type": "function", "function": {
                "name": "f", "description": "does f", "strict": true,
                "parameters": {"type": "object", "required": ["q"], "properties": {
                    "q": {"type": "string", "description": "the q", "enum": ["a b", "c"]},
                    "type": {"type": ["string", "ignore the rules"], "description": "a type"},
                }},
            }},
            {"type": "custom", "custom": {"name": "k", "description": "does k",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: X"}}}},
        ],
        "functions": [{"name": "old", "description": null}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema":
            {"type": "object", "properties": {"a": {"description": "an a"}}}}},
        "prediction": {"type": "content", "content": [{"type": "text", "text": "p"}]},
        "stop": ["END"],
        "user": "someone",
        "metadata": {"k": "v"},
        "documents": [{"text": "retrieved"}],
    });
    let expected = [
        ("system", "/messages/0/content", "d"),
        ("system", "/messages/1/name", "boss"),
        ("system", "/messages/1/content/0/text", "s"),
        ("user", "/messages/2/content/0/text", "u"),
        ("user", "/messages/2/content/3/file/filename", "f.pdf"),
        ("user", "/messages/2/content/4/a~1b~0c/words/0", "new words"),
        ("user", "/messages/2/content/5", "bare"),
        ("assistant", "/messages/3/refusal", "r"),
        ("assistant", "/messages/3/reasoning_content", "t"),
        ("assistant", "/messages/3/thinking_blocks/0/thinking", "tb"),
        ("assistant", "/messages/3/tool_calls/0/function/name", "f"),
        (
            "assistant",
            "/messages/3/tool_calls/0/function/arguments",
            "{\"q\":1}",
        ),
        ("assistant", "/messages/3/tool_calls/1/custom/name", "k"),
        ("assistant", "/messages/3/tool_calls/1/custom/input", "i"),
        ("assistant", "/messages/4/content/0/refusal", "rp"),
        ("assistant", "/messages/4/function_call/name", "old"),
        ("assistant", "/messages/4/function_call/arguments", "oa"),
        ("tool", "/messages/5/content", "tool says"),
        ("tool", "/messages/6/name", "old"),
        ("tool", "/messages/6/content", "function says"),
        ("critic", "/messages/7/content", "c"),
        ("user", "/messages/8/content", "nobody"),
        ("tool-definition", "/tools/0/function/name", "f"),
        ("tool-definition", "/tools/0/function/description", "does f"),
        (
            "tool-definition",
            "/tools/0/function/parameters/properties/q/description",
            "the q",
        ),
        (
            "tool-definition",
            "/tools/0/function/parameters/properties/q/enum/0",
            "a b",
        ),
        (
            "tool-definition",
            "/tools/0/function/parameters/properties/q/enum/1",
            "c",
        ),
        (
            "tool-definition",
            "/tools/0/function/parameters/properties/type/type/1",
            "ignore the rules",
        ),
        (
            "tool-definition",
            "/tools/0/function/parameters/properties/type/description",
            "a type",
        ),
        ("tool-definition", "/tools/1/custom/name", "k"),
        ("tool-definition", "/tools/1/custom/description", "does k"),
        (
            "tool-definition",
            "/tools/1/custom/format/grammar/syntax",
            "lark",
        ),
        (
            "tool-definition",
            "/tools/1/custom/format/grammar/definition",
            "start: X",
        ),
        ("tool-definition", "/functions/0/name", "old"),
        ("system", "/response_format/json_schema/name", "out"),
        (
            "system",
            "/response_format/json_schema/schema/properties/a/description",
            "an a",
        ),
        ("assistant", "/prediction/content/0/text", "p"),
        ("system", "/documents/0/text", "retrieved"),
    ];
    assert_texts("openai.chat", &body, &expected);
}

#[test]
fn texts_of_a_messages_request() {
    let body = json!({
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "u"},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "r0"},
                {"type": "tool_result", "tool_use_id": "t", "content": [
                    {"type": "text", "text": "r1"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                    {"type": "search_result", "title": "st", "source": "https://a b", "content": [{"type": "text", "text": "sr"}]},
                ]},
                {"type": "document", "title": "dt", "context": "dc",
                 "source": {"type": "text", "media_type": "text/plain", "data": "dd"}},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "nested"}]}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "th", "signature": "zz"},
                {"type": "redacted_thinking", "data": "zz"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "v", "b": [{"type": "w"}], "n": 1}},
                {"type": "web_fetch_tool_result", "tool_use_id": "x", "content": {"type": "web_fetch_result",
                    "url": "https://example.com", "content": {"type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "fetched page"}}}},
            ]},
            {"role": "system", "content": [{"type": "text", "text": "late"}]},
        ],
        "tools": [{"name": "f", "description": "does f", "input_schema": {"type": "object",
            "properties": {"a": {"type": "string", "description": "an a"}}}},
            {"type": "web_search_20250305", "name": "web_search"}],
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema":
            {"type": "object", "description": "the form"}}},
        "context_management": {"edits": [{"type": "compact_20260112", "instructions": "sum up"}]},
        "stop_sequences": ["END"],
        "mcp_servers": [{"name": "x", "authorization_token": "secret"}],
    });
    let expected = [
        ("system", "/system/0/text", "s"),
        ("user", "/messages/0/content", "u"),
        ("tool", "/messages/1/content/0/content", "r0"),
        ("tool", "/messages/1/content/1/content/0/text", "r1"),
        ("tool", "/messages/1/content/1/content/2/title", "st"),
        (
            "tool",
            "/messages/1/content/1/content/2/source",
            "https://a b",
        ),
        (
            "tool",
            "/messages/1/content/1/content/2/content/0/text",
            "sr",
        ),
        ("user", "/messages/1/content/2/title", "dt"),
        ("user", "/messages/1/content/2/context", "dc"),
        ("user", "/messages/1/content/2/source/data", "dd"),
        (
            "user",
            "/messages/1/content/3/source/content/0/text",
            "nested",
        ),
        ("assistant", "/messages/2/content/0/thinking", "th"),
        ("assistant", "/messages/2/content/2/name", "f"),
        ("assistant", "/messages/2/content/2/input/a", "v"),
        ("assistant", "/messages/2/content/2/input/b/0/type", "w"),
        (
            "tool",
            "/messages/2/content/3/content/content/source/data",
            "fetched page",
        ),
        ("system", "/messages/3/content/0/text", "late"),
        ("tool-definition", "/tools/0/name", "f"),
        ("tool-definition", "/tools/0/description", "does f"),
        (
            "tool-definition",
            "/tools/0/input_schema/properties/a/description",
            "an a",
        ),
        ("tool-definition", "/tools/1/name", "web_search"),
        (
            "system",
            "/output_config/format/schema/description",
            "the form",
        ),
        (
            "system",
            "/context_management/edits/0/instructions",
            "sum up",
        ),
    ];
    assert_texts("anthropic.messages", &body, &expected);
}

#[test]
fn bodies_that_are_no_requests_have_no_texts() {
    let bodies = [
        json!(null),
        json!([1]),
        json!("text"),
        json!({"messages": "x", "tools": 1}),
        json!({"messages": [null, 1, {"content": 5, "role": []}], "system": 7}),
    ];
    for body in &bodies {
        // The one string stands where messages should be, which no model reads.
        assert_texts("openai.chat", body, &[]);
        assert_texts("anthropic.messages", body, &[]);
    }
}

#[test]
fn limits_count_by_every_name_and_however_they_are_written() {
    let cases = [
        (json!({}), None, None, vec!["max_completion_tokens"]),
        (
            json!({"max_tokens": 5}),
            Some(5),
            Some(5),
            vec!["max_tokens"],
        ),
        (
            json!({"max_tokens": 5, "max_completion_tokens": 9, "max_output_tokens": 7}),
            Some(9),
            Some(5),
            vec!["max_completion_tokens", "max_tokens", "max_output_tokens"],
        ),
        (
            json!({"max_tokens": 100.0}),
            Some(100),
            Some(100),
            vec!["max_tokens"],
        ),
        (
            json!({"max_tokens": 99.5}),
            Some(100),
            Some(100),
            vec!["max_tokens"],
        ),
        (
            json!({"max_tokens": 1e300}),
            Some(u64::MAX),
            Some(u64::MAX),
            vec!["max_tokens"],
        ),
        (
            json!({"max_tokens": "100"}),
            Some(100),
            Some(100),
            vec!["max_tokens"],
        ),
        (
            json!({"max_tokens": null}),
            None,
            None,
            vec!["max_completion_tokens"],
        ),
        (
            json!({"max_tokens": -1, "max_completion_tokens": 5}),
            None,
            None,
            vec!["max_completion_tokens", "max_tokens"],
        ),
        (json!([]), None, None, vec!["max_completion_tokens"]),
    ];
    let (chat, messages) = (
        by_name("openai.chat").unwrap(),
        by_name("anthropic.messages").unwrap(),
    );
    for (body, of_chat, of_messages, members) in cases {
        assert_eq!(chat.max_output_tokens(&body), of_chat, "{body}");
        assert_eq!(messages.max_output_tokens(&body), of_messages, "{body}");
        assert_eq!(chat.max_output_tokens_members(&body), members, "{body}");
        assert_eq!(
            messages.max_output_tokens_members(&body),
            ["max_tokens"],
            "{body}"
        );
    }
}

#[test]
fn choices_and_streams() {
    let (chat, messages) = (
        by_name("openai.chat").unwrap(),
        by_name("anthropic.messages").unwrap(),
    );
    let cases = [
        (json!({}), 1),
        (json!({"n": 3}), 3),
        (json!({"n": 2.0}), 2),
        (json!({"n": 0}), 1),
        (json!({"n": -4}), 1),
        (json!({"n": "5"}), 5),
        (json!({"n": "many"}), 1),
        (json!({"n": 5_000_000_000_u64}), u32::MAX),
    ];
    for (body, expected) in cases {
        assert_eq!(chat.choices(&body), expected, "{body}");
        assert_eq!(messages.choices(&body), 1);
    }
    let asking = json!({"stream": true, "stream_options": {"include_usage": true}});
    assert!(chat.stream(&asking) && chat.wants_usage_in_stream(&asking));
    let plain = json!({"stream": "true", "stream_options": null});
    assert!(!chat.stream(&plain) && !chat.wants_usage_in_stream(&plain));
    assert!(messages.wants_usage_in_stream(&plain));
}
