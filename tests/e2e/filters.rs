//! Filters of requests and of answers, in every dialect, streamed and not.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};
use serde_json::json;

use crate::client::{CHAT, MESSAGES, chat, messages, post, post_json, streamed};

async fn filtered(plugin: &str) -> Palisade {
    let manifest = format!(
        r#"
        [plugins.filter]
        {plugin}
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "all"
        filters = ["filter"]
        provider = "echo"
        loggers = ["log"]
        "#
    );
    Palisade::start(&manifest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_security_filter_refuses_in_the_clients_dialect() {
    let palisade = filtered(
        r#"source = "builtin:security-filter"
        config = { allowed-models = ["gpt-4o*", "claude-*"], max-tokens = 100, forbidden-instructions = ["system:*jailbreak*"] }"#,
    )
    .await;
    let jail = json!([{ "role": "system", "content": "please JAIL\u{200b}break" }, { "role": "user", "content": "x" }]);
    // Among many texts, behind escapes; cut into parts of one message; and what
    // is none, because two messages say half of it each.
    let line = "\"a\"\tline\n".repeat(500);
    let quiet = json!([{ "role": "system", "content": "jail, and then a \"break\"\n" }]);
    let far = json!([{ "role": "user", "content": line }, { "role": "developer", "content": format!("{line}JailBreak{line}") }]);
    let cut = json!([{ "role": "system", "content": [{ "type": "text", "text": "jail" }, { "type": "text", "text": "break" }] }]);
    let halves =
        json!([{ "role": "system", "content": "jail" }, { "role": "system", "content": "break" }]);
    let cases = [
        (
            CHAT,
            json!({ "model": "gpt-4o", "messages": far }),
            403,
            "instruction.forbidden",
        ),
        (
            CHAT,
            json!({ "model": "gpt-4o", "messages": cut }),
            403,
            "instruction.forbidden",
        ),
        (
            CHAT,
            json!({ "model": "gpt-4o", "messages": halves }),
            200,
            "",
        ),
        (
            CHAT,
            json!({ "model": "gpt-4o", "messages": quiet }),
            200,
            "",
        ),
        (CHAT, chat("gpt-4o-mini", "hello"), 200, ""),
        (CHAT, chat("gpt-3.5", "hello"), 403, "model.not-allowed"),
        (
            MESSAGES,
            messages("gpt-3.5", "hello"),
            403,
            "model.not-allowed",
        ),
        (CHAT, json!({ "messages": [] }), 400, "model.missing"),
        (
            CHAT,
            json!({ "model": "gpt-4o", "max_tokens": 101, "messages": [{ "role": "user", "content": "x" }] }),
            403,
            "tokens.over-limit",
        ),
        (
            CHAT,
            json!({ "model": "gpt-4o", "max_tokens": 51, "n": 2, "messages": [{ "role": "user", "content": "x" }] }),
            403,
            "tokens.over-limit",
        ),
        (
            CHAT,
            json!({ "model": "gpt-4o", "messages": jail }),
            403,
            "instruction.forbidden",
        ),
        (
            MESSAGES,
            json!({ "model": "claude-x", "max_tokens": 5, "system": "Jailbreak!", "messages": [{ "role": "user", "content": "x" }] }),
            403,
            "instruction.forbidden",
        ),
    ];
    for (path, body, status, code) in cases {
        for body in [body.clone(), streamed(body)] {
            let got = post_json(&palisade.url, path, &body).await;
            assert_eq!(got.status, status, "{body} {}", got.text);
            if status == 200 {
                continue;
            }
            let error = &got.json()["error"];
            assert_eq!(got.header("content-type"), "application/json");
            if path == CHAT {
                assert_eq!(error["code"], code, "{error}");
            }
            if status == 403 {
                assert!(
                    error["message"]
                        .as_str()
                        .unwrap()
                        .starts_with("Security violation: "),
                    "{error}"
                );
                assert_eq!(error["type"], "security_filter_error", "{error}");
            }
            let record = palisade.record(got.id()).await.expect("a record");
            assert_eq!(
                (&record["outcome"], &record["notes"]["denied-by"]),
                (&json!("denied"), &json!("filter"))
            );
        }
    }
}

/// What the host finds for a filter is what the texts say, however JSON writes
/// it; what only looks like the words is the filter's to see.
#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_however_they_are_written() {
    let steps = r#"[
        { find-words = ["jailBREAK", "nap", "", "über", "\"quoted\"", "model", "a tool"] },
        { find-words = [] }, { find-words = ["TOO_LONG"] }, { find-words = MANY },
        { set = { pointer = "/messages/0/content", json = "\"edited, with a nap\"" } }, { find-words = ["nap"] },
    ]"#;
    let steps = steps.replace("TOO_LONG", &"x".repeat(257));
    let steps = steps.replace("MANY", &json!(vec!["x"; 65]).to_string());
    let source = guest("editor").display().to_string();
    let palisade = filtered(&format!(
        "source = \"{source}\"\nconfig = {{ steps = {steps} }}"
    ))
    .await;
    let tool = r#","tools":[{"type":"function","function":{"name":"f","description":"A Tool"}}]"#;
    let cases = [
        (r#""a\nap, \"quoted\", jail""#, "", json!([[2, 4], true])),
        (
            r#""\u006aAil\u0042reak \u00fcber""#,
            "",
            json!([[0, 2, 3], false]),
        ),
        (r#"["jail","Break","\ta"]"#, tool, json!([[0, 2, 6], true])),
        (r#""jail\u200bbreak ""#, "", json!([[2], false])),
        (r#""JAILBREAK é""#, "", json!([[0, 2], false])),
        (r#""""#, "", json!([[2], true])),
    ];
    for (content, more, expected) in cases {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]{more}}}"#);
        let got = post(&palisade.url, CHAT, body).await;
        let record = palisade.record(got.id()).await.expect("a record");
        let note = record["notes"]["editor"].as_str().expect("a note");
        let outcomes: Vec<serde_json::Value> = serde_json::from_str(note).unwrap();
        assert_eq!(outcomes[0], expected, "{content}");
        assert_eq!(outcomes[1], json!([[], expected[1]]), "{content}");
        for refused in &outcomes[2..4] {
            let why = "at most 64 words of 256 bytes are looked for";
            assert_eq!(*refused, json!({ "error": why }), "{content}");
        }
        assert_eq!(outcomes[5], json!([[0], true]), "{content}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_sees_every_answer_whichever_way_it_comes() {
    let palisade = filtered(&format!(
        "source = \"{}\"\nconfig = {{ redact = [\"secret word\"], stop-at = [\"the end\"] }}",
        guest("guard").display()
    ))
    .await;
    // The echo adapter cuts its answer between words, so the phrase is split.
    for (path, body) in [
        (CHAT, chat("m", "a secret word here")),
        (MESSAGES, messages("m", "a secret word here")),
    ] {
        let whole = post_json(&palisade.url, path, &body).await;
        let got = post_json(&palisade.url, path, &streamed(body)).await;
        let expected = "You said: a [redacted] here";
        assert_eq!(got.streamed_text(), expected, "{}", got.text);
        let json = whole.json();
        let text = if path == CHAT {
            &json["choices"][0]["message"]["content"]
        } else {
            &json["content"][0]["text"]
        };
        assert_eq!(text, expected);
    }
    for (path, body) in [
        (CHAT, chat("m", "now the end of it")),
        (MESSAGES, messages("m", "now the end of it")),
    ] {
        let whole = post_json(&palisade.url, path, &body).await;
        assert_eq!(whole.status, 403, "{}", whole.text);
        let got = post_json(&palisade.url, path, &streamed(body)).await;
        assert!(
            !got.text.contains("of it"),
            "nothing after the stop: {}",
            got.text
        );
        assert!(
            got.status == 403 || (!got.whole && got.text.contains("error")),
            "{}",
            got.text
        );
    }
}

const FRAMES: [&str; 7] = [
    "data: {\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"system_fingerprint\":null,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}],\"obfuscation\":\"abc\"}\n\n",
    "data: {\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"},\"finish_reason\":null}],\"obfuscation\":\"de\"}\n\n",
    "data: {\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" two\"},\"finish_reason\":null}]}\r\n\r\n",
    "data: {\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" th\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u0072ee\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\", \"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];

/// A guard that changes nothing costs an answer nothing of what events cannot
/// express; one that changes something goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_guard_leaves_alone_stays_as_it_came() {
    let manifest = |url: &str, config: &str| {
        format!(
            "[plugins.openai]\nsource = \"builtin:provider-openai\"\nupstream = \"{url}/v1\"\n\
             [plugins.guard]\nsource = \"{}\"\nconfig = {{ {config} }}\n\
             [[routes]]\nname = \"all\"\nfilters = [\"guard\"]\nprovider = \"openai\"",
            guest("guard").display()
        )
    };
    let body = streamed(chat("m", "x"));
    // One by one, and all at a time.
    for pause in [5, 0] {
        let answer = Answer::stream(&FRAMES, Duration::from_millis(pause));
        let upstream = Capture::start(answer).await;
        let palisade = Palisade::start(&manifest(&upstream.url, "")).await;
        let got = post_json(&palisade.url, CHAT, &body).await;
        assert_eq!(got.text, FRAMES.concat());

        for (word, said) in [
            ("two", "one [redacted] three"),
            ("three", "one two [redacted]"),
        ] {
            let config = format!("redact = [\"{word}\"]");
            let palisade = Palisade::start(&manifest(&upstream.url, &config)).await;
            let got = post_json(&palisade.url, CHAT, &body).await;
            assert_eq!(got.streamed_text(), said, "{}", got.text);
            assert!(
                got.text.starts_with(FRAMES[0]),
                "up to the change it is as it came: {}",
                got.text
            );
            assert_eq!(got.events().last().unwrap(), "[DONE]");
            assert_eq!(got.text.matches("\"role\"").count(), 1, "{}", got.text);
        }
    }
    let upstream = Capture::start(Answer::whole("200 OK", "application/json", WHOLE)).await;
    let body = chat("m", "x");
    for (config, same) in [("", true), ("redact = [\"one\"]", false)] {
        let palisade = Palisade::start(&manifest(&upstream.url, config)).await;
        let got = post_json(&palisade.url, CHAT, &body).await;
        assert_eq!(got.text == WHOLE, same, "{}", got.text);
        let says = if same { "one" } else { "[redacted]" };
        assert_eq!(got.json()["choices"][0]["message"]["content"], says);
    }
}

/// What comes after a choice has finished, or after the end, no filter is shown;
/// so no client is either. A server that never says that it is done is.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_guard_has_seen_reaches_nobody() {
    let late = FRAMES[1].replace("one", "late");
    let [head, one, .., stop, done] = FRAMES;
    let cases = [
        (vec![head, one, stop, &late, done], true),
        (vec![head, one, stop, done, &late], true),
        (vec![head, one, stop], false),
    ];
    for (frames, is_done) in cases {
        let upstream = Capture::start(Answer::stream(&frames, Duration::ZERO)).await;
        let manifest = format!(
            "[plugins.openai]\nsource = \"builtin:provider-openai\"\nupstream = \"{}/v1\"\n\
             [plugins.guard]\nsource = \"{}\"\n\
             [[routes]]\nname = \"all\"\nfilters = [\"guard\"]\nprovider = \"openai\"",
            upstream.url,
            guest("guard").display()
        );
        let palisade = Palisade::start(&manifest).await;
        let got = post_json(&palisade.url, CHAT, &streamed(chat("m", "x"))).await;
        assert!(got.whole && !got.text.contains("\"error\""), "{}", got.text);
        assert_eq!(got.streamed_text(), "one", "{}", got.text);
        assert_eq!(got.text.contains("[DONE]"), is_done, "{}", got.text);
        assert!(
            got.text.contains("\"finish_reason\":\"stop\""),
            "{}",
            got.text
        );
    }
}

const WHOLE: &str = r#"{"id":"c", "object":"chat.completion","created":1,"model":"m","own":1.0e0,"choices":[{"index":0,"message":{"role":"assistant","content":"one"},"finish_reason":"stop"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_read_is_no_way_round_a_guard() {
    let palisade = filtered(&format!("source = \"{}\"", guest("guard").display())).await;
    let got = post_json(
        &palisade.url,
        "/v1/completions",
        &json!({ "model": "m", "prompt": "x" }),
    )
    .await;
    assert_eq!(got.status, 404);
    assert!(
        got.text.contains("cannot read those of /v1/completions"),
        "{}",
        got.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_keys_name_the_principal() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("blue");
    std::fs::write(&secret, "blue-key\n").unwrap();
    let manifest = format!(
        r#"
        [keys.blue]
        file = "{}"
        [plugins.echo]
        source = "builtin:provider-echo"
        [plugins.log]
        source = "builtin:logger"
        output = "log.jsonl"
        [[routes]]
        name = "blue"
        match = {{ key = "blue", path = "/v1/chat/*" }}
        provider = "echo"
        loggers = ["log"]
        "#,
        secret.display()
    );
    let palisade = Palisade::start(&manifest).await;
    let client = reqwest::Client::new();
    let request = || {
        client
            .post(format!("{}{CHAT}", palisade.url))
            .body(chat("m", "x").to_string())
    };
    let cases = [
        (request(), 401),
        (request().header("authorization", "Bearer wrong-key"), 401),
        (request().header("authorization", "Bearer blue-key"), 200),
        (request().header("x-api-key", "blue-key"), 200),
    ];
    for (request, status) in cases {
        let got = crate::client::send(request).await;
        assert_eq!(got.status, status, "{}", got.text);
        assert!(
            !got.text.contains("blue") && !got.text.contains("wrong"),
            "{}",
            got.text
        );
        if status == 200 {
            let record = palisade.record(got.id()).await.expect("a record");
            assert_eq!(record["principal"], "blue");
        }
    }
    let got = crate::client::send(request().header("x-api-key", "blue-key").header("x", "y")).await;
    assert_eq!(got.status, 200);
    let other = client
        .get(format!("{}/v1/models", palisade.url))
        .header("x-api-key", "blue-key");
    let got = crate::client::send(other).await;
    assert_eq!(
        (got.status, got.json()["error"]["code"].as_str()),
        (404, Some("no_route"))
    );
}
