//! Translation of messages requests to the hub.

use serde_json::{Value, json};

use super::by_name;
use crate::dialect::{Hub, InvalidRequest};

fn translated(body: &Value) -> Result<Hub, InvalidRequest> {
    by_name("anthropic.messages").unwrap().to_hub(body)
}

/// The hub's messages for these turns, and what was dropped.
fn messages(turns: Value) -> (Value, Vec<String>) {
    let hub = translated(&json!({"model": "m", "messages": turns})).unwrap();
    (hub.body["messages"].clone(), hub.dropped)
}

/// The hub's body for these members, without the messages, and what was
/// dropped.
fn members(members: Value) -> (Value, Vec<String>) {
    let mut body = members;
    body["messages"] = json!([]);
    let mut hub = translated(&body).unwrap();
    hub.body.as_object_mut().unwrap().remove("messages");
    (hub.body, hub.dropped)
}

#[test]
fn the_hub_itself_is_copied() {
    let body = json!({"model": "m", "anything": [1, 2]});
    let hub = by_name("openai.chat").unwrap().to_hub(&body).unwrap();
    assert_eq!(
        hub,
        Hub {
            body,
            dropped: vec![]
        }
    );
}

#[test]
fn a_conversation_with_tools() {
    let body = json!({
        "model": "m",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
                {"type": "redacted_thinking", "data": "zz"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "Sunny"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [
                    {"type": "text", "text": "Which city?"},
                    {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
                ]},
                {"type": "text", "text": "And tomorrow?"},
            ]},
        ],
        "tools": [{"name": "weather", "description": "Tells the weather.",
            "input_schema": {"type": "object", "$defs": {}}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "stream": true,
    });
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "I look.",
                "reasoning_content": "Hm.",
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "zz"},
                ],
                "tool_calls": [
                    {"id": "t1", "type": "function", "function":
                        {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}},
                    {"id": "t2", "type": "function", "function":
                        {"name": "weather", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "Sunny"},
            {"role": "tool", "tool_call_id": "t2", "is_error": true, "content": [
                {"type": "text", "text": "Which city?"},
                {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
            ]},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather",
            "description": "Tells the weather.", "parameters": {"type": "object", "$defs": {}}}}],
        "tool_choice": "required",
        "parallel_tool_calls": false,
        "max_completion_tokens": 100,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let hub = translated(&body).unwrap();
    assert_eq!(hub.body, expected);
    assert_eq!(hub.dropped, Vec::<String>::new());
}

#[test]
fn turns() {
    let ephemeral = json!({"type": "ephemeral"});
    let cases = [
        // Plain text is a string, unless the cache must know of it.
        (
            json!([{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": null}]}]),
            json!([{"role": "user", "content": "a"}]),
        ),
        (
            json!([{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": ephemeral}]}]),
            json!([{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": ephemeral}]}]),
        ),
        // Empty texts are left out, and turns of nothing else.
        (
            json!([{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
                   {"role": "assistant", "content": [{"type": "text", "text": ""}]},
                   {"role": "user", "content": ""}]),
            json!([{"role": "user", "content": "a"}, {"role": "user", "content": ""}]),
        ),
        (
            json!([{"role": "system", "content": "late"}, {"role": "assistant", "content": "pre"}]),
            json!([{"role": "system", "content": "late"}, {"role": "assistant", "content": "pre"}]),
        ),
        // Images and documents from every source.
        (
            json!([{"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                {"type": "image", "source": {"type": "file", "file_id": "f1"}},
                {"type": "document", "title": "t.pdf", "context": "c", "cache_control": ephemeral,
                 "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"}},
                {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
                {"type": "document", "title": "t", "source": {"type": "file", "file_id": "f2"}},
                {"type": "document", "title": "t", "context": "c",
                 "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
                {"type": "document", "source": {"type": "content", "content": "more"}},
                {"type": "search_result", "title": "st", "source": "su",
                 "content": [{"type": "text", "text": "found"}]},
            ]}]),
            json!([{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "file", "file": {"file_id": "f1"}},
                {"type": "text", "text": "c"},
                {"type": "file", "file": {"filename": "t.pdf", "file_data": "data:application/pdf;base64,BB"},
                 "cache_control": ephemeral},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://a/b.pdf"}},
                {"type": "file", "file": {"file_id": "f2"}},
                {"type": "text", "text": "t\nc"},
                {"type": "text", "text": "words"},
                {"type": "text", "text": "more"},
                {"type": "text", "text": "st\nsu"},
                {"type": "text", "text": "found"},
            ]}]),
        ),
        // Results come first, empty ones too, and documents in them go to the
        // user's message.
        (
            json!([{"role": "user", "content": [
                {"type": "text", "text": "see"},
                {"type": "tool_result", "tool_use_id": "t1", "cache_control": ephemeral, "is_error": false},
                {"type": "tool_result", "tool_use_id": "t2", "content": [
                    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"}}]},
            ]}]),
            json!([
                {"role": "tool", "tool_call_id": "t1", "content": "", "cache_control": ephemeral},
                {"role": "tool", "tool_call_id": "t2", "content": ""},
                {"role": "user", "content": [
                    {"type": "text", "text": "see"},
                    {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,BB"}},
                ]},
            ]),
        ),
        // Thinking that nobody signed is text only; arguments that are text
        // stay as they are; a call's cache mark goes to its message.
        (
            json!([{"role": "assistant", "content": [
                {"type": "thinking", "thinking": "a", "signature": ""},
                {"type": "thinking", "thinking": "b"},
                {"type": "tool_use", "id": "t", "name": "f", "input": "{\"x", "cache_control": ephemeral},
            ]}]),
            json!([{"role": "assistant", "content": null, "reasoning_content": "ab",
                "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"x"}}],
                "cache_control": ephemeral}]),
        ),
    ];
    for (turns, expected) in cases {
        assert_eq!(messages(turns.clone()), (expected, vec![]), "{turns}");
    }
}

#[test]
fn blocks_that_have_no_place_are_reported() {
    let turns = json!([
        {"role": "user", "content": [
            {"type": "container_upload", "file_id": "f"},
            {"type": "document", "citations": {"enabled": true}, "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "x"}]},
        ]},
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        ]},
        {"role": "system", "content": [{"type": "tool_addition", "tool": {}}]},
    ]);
    let expected = json!([
        {"role": "tool", "tool_call_id": "t", "content": ""},
        {"role": "user", "content": "d"},
    ]);
    let dropped = [
        "/messages/0/content/0",
        "/messages/0/content/1/citations",
        "/messages/0/content/2/content/0",
        "/messages/1/content/0",
        "/messages/1/content/1",
        "/messages/2/content/0",
    ];
    assert_eq!(
        messages(turns),
        (expected, dropped.map(str::to_owned).to_vec())
    );
}

#[test]
fn settings() {
    let strict = json!({"type": "object", "properties": {"a": {"type": "string"}},
        "required": ["a"], "additionalProperties": false});
    let loose = json!({"type": "object", "properties": {"a": strict, "b": {"type": "string"}},
        "required": ["a"], "additionalProperties": false});
    let cases = [
        (
            json!({"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop_sequences": ["a"]}),
            json!({"max_completion_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": ["a"]}),
            vec![],
        ),
        (
            json!({"stream": false, "stop_sequences": []}),
            json!({"stream": false}),
            vec![],
        ),
        (
            json!({"metadata": {"user_id": "u", "trace": "x"}, "service_tier": "standard_only"}),
            json!({"user": "u", "service_tier": "default"}),
            vec!["/metadata/trace"],
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 4000}}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 4000}, "reasoning_effort": "low"}),
            vec![],
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 10000}}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 10000}, "reasoning_effort": "medium"}),
            vec![],
        ),
        (
            json!({"output_config": {"effort": "max"}, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "reasoning_effort": "xhigh"}),
            vec![],
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 32000}, "output_config": {"effort": "low"}}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 32000}, "reasoning_effort": "low"}),
            vec![],
        ),
        (
            json!({"thinking": {"type": "adaptive"}}),
            json!({"thinking": {"type": "adaptive"}}),
            vec![],
        ),
        (
            json!({"output_config": {"format": {"type": "json_schema", "schema": strict}, "task": {"a": 1}}}),
            json!({"response_format": {"type": "json_schema", "json_schema":
                {"name": "output", "schema": strict, "strict": true}}}),
            vec!["/output_config/task"],
        ),
        (
            json!({"output_format": {"type": "json_schema", "schema": loose}}),
            json!({"response_format": {"type": "json_schema", "json_schema":
                {"name": "output", "schema": loose}}}),
            vec![],
        ),
        (
            json!({"container": "c", "mcp_servers": [], "betas": null, "a/b": 1, "output_format": "markdown"}),
            json!({}),
            vec!["/container", "/a~1b", "/output_format"],
        ),
    ];
    for (from, expected, dropped) in cases {
        let dropped = dropped.into_iter().map(str::to_owned).collect();
        assert_eq!(members(from.clone()), (expected, dropped), "{from}");
    }
}

#[test]
fn tools() {
    let f = json!({"name": "f", "description": null, "input_schema": {"type": "object"}});
    let hub_f =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let server = json!({"type": "web_search_20250305", "name": "web_search"});
    let cases = [
        (json!({"tools": [f]}), json!({"tools": [hub_f]}), vec![]),
        (
            json!({"tools": [{"type": "custom", "name": "f", "input_schema": {"type": "object"}, "strict": true,
                "defer_loading": true, "eager_input_streaming": false, "cache_control": {"type": "ephemeral"}}]}),
            json!({"tools": [{"type": "function", "function":
                {"name": "f", "parameters": {"type": "object"}, "strict": true},
                "cache_control": {"type": "ephemeral"}}]}),
            vec!["/tools/0/defer_loading"],
        ),
        (
            json!({"tools": [server, f], "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": false}}),
            json!({"tools": [hub_f], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            vec!["/tools/0"],
        ),
        (
            json!({"tools": [server, f], "tool_choice": {"type": "tool", "name": "web_search"}}),
            json!({"tools": [hub_f]}),
            vec!["/tools/0", "/tool_choice"],
        ),
        (
            json!({"tools": [server], "tool_choice": {"type": "any"}}),
            json!({}),
            vec!["/tools/0", "/tool_choice"],
        ),
        (
            json!({"tools": [], "tool_choice": {"type": "auto"}}),
            json!({}),
            vec![],
        ),
        (
            json!({"tools": [f], "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
            json!({"tools": [hub_f], "tool_choice": "auto", "parallel_tool_calls": false}),
            vec![],
        ),
        (
            json!({"tools": [f], "tool_choice": {"type": "none"}}),
            json!({"tools": [hub_f], "tool_choice": "none"}),
            vec![],
        ),
    ];
    for (from, expected, dropped) in cases {
        let dropped = dropped.into_iter().map(str::to_owned).collect();
        assert_eq!(members(from.clone()), (expected, dropped), "{from}");
    }
}

#[test]
fn an_error_names_what_is_wrong_and_where() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let cases = [
        (json!([]), "body: an object is expected"),
        (json!({"model": "m"}), "body: \"messages\" is required"),
        (json!({"messages": {}}), "/messages: an array is expected"),
        (
            json!({"messages": [1]}),
            "/messages/0: an object is expected",
        ),
        (
            json!({"messages": [{"content": "a"}]}),
            "/messages/0: \"role\" is required",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "a"}]}),
            "/messages/0/role: role \"tool\" is not user, assistant or system",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "/messages/0: \"content\" is required",
        ),
        (user(json!(5)), "/messages/0/content: an array is expected"),
        (
            user(json!(["a"])),
            "/messages/0/content/0: an object is expected",
        ),
        (
            user(json!([{"text": "a"}])),
            "/messages/0/content/0: \"type\" is required",
        ),
        (
            user(json!([{"type": "text"}])),
            "/messages/0/content/0: \"text\" is required",
        ),
        (
            user(json!([{"type": "image", "source": {"type": "ftp"}}])),
            "/messages/0/content/0/source: source type \"ftp\" is not known",
        ),
        (
            user(json!([{"type": "tool_result", "content": "a"}])),
            "/messages/0/content/0: \"tool_use_id\" is required",
        ),
        (
            json!({"messages": [], "tools": [{"name": "f", "input_schema": "x"}]}),
            "/tools/0/input_schema: an object is expected",
        ),
        (
            json!({"messages": [], "tool_choice": {"type": "all"}}),
            "/tool_choice: type \"all\" is not auto, any, tool or none",
        ),
        (
            json!({"messages": [], "model": 5}),
            "/model: a string is expected",
        ),
        (
            json!({"messages": [], "metadata": {"user_id": 5}}),
            "/metadata/user_id: a string is expected",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(
            translated(&body).unwrap_err().to_string(),
            expected,
            "{body}"
        );
    }
}
