"""What goes over the wire, where the SDKs do not look: bytes that nobody
changed, header fields, framing. Needs a gateway.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import matrix
from transcripts import content
from upstream import Upstream

pytestmark = pytest.mark.gateway

# Odd on purpose: blanks, the order of members, escapes, numbers that a parser
# would write otherwise, and members that no gateway knows.
BODIES = {
    "openai": (
        b'{ "stream" : %s,\t"temperature":1.0e0,"seed":9007199254740993,\n'
        b'  "messages":[{"content":"caf\\u00e9 \\/ \\uD83D\\uDE00 %s","role":"user"}] , '
        b'"model"  :  "openai\\/%s", "metadata":{"b":"2","a":"1"}}'
    ),
    "anthropic": (
        b'{"max_tokens":64 ,"stream":%s, "messages":[{"content":[{"text":"caf\\u00e9 %s",\n'
        b'"type":"text","cache_control":{"type":"ephemeral"}}],"role":"user"}],\r\n'
        b' "model" :"anthropic/%s","metadata":{ "user_id":"u\\u002d1" }  }'
    ),
}


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(base_url=matrix.GATEWAY or "http://none", trust_env=False) as http:
        yield http


def headers(provider: str) -> dict[str, str]:
    own = {
        "openai": {"authorization": f"Bearer {matrix.KEY}"},
        "anthropic": {"x-api-key": matrix.KEY, "anthropic-version": "2023-06-01"},
    }
    return {"content-type": "application/json", "cookie": "session=secret", **own[provider]}


def post(http: httpx.Client, provider: str, body: bytes) -> httpx.Response:
    path = "/v1/messages" if provider == "anthropic" else "/v1/chat/completions"
    return http.post(path, content=body, headers=headers(provider))


def body_of(provider: str, scenario: str, stream: bool, marker: str) -> bytes:
    flag = b"true" if stream else b"false"
    return BODIES[provider] % (flag, marker.encode(), scenario.encode())


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_only_the_model_of_a_request_is_changed(
    http: httpx.Client, upstream: Upstream, provider: str, stream: bool
) -> None:
    """Prompt caches live on unchanged bytes: agentgateway#3371, kubeai#690."""
    marker = uuid.uuid4().hex
    body = body_of(provider, "chat", stream, marker)
    assert post(http, provider, body).status_code == 200
    before = b'"openai\\/chat"' if provider == "openai" else b'"anthropic/chat"'
    assert before in body
    asked = upstream.request(marker)
    assert asked.text.encode() == body.replace(before, b'"chat"')
    assert asked.header("content-length") == [str(len(asked.text.encode()))]
    assert asked.header("transfer-encoding") == []


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("scenario", ["chat", "unicode", "chat-bytes", "empty"])
def test_an_answer_comes_byte_for_byte(
    http: httpx.Client, provider: str, scenario: str, stream: bool
) -> None:
    got = post(http, provider, body_of(provider, scenario, stream, "x"))
    file = "stream.sse" if stream else "whole.json"
    assert got.content == content(provider, scenario, file)
    kind = "text/event-stream" if stream else "application/json"
    assert got.headers["content-type"].startswith(kind)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_packed_answer_is_what_its_head_says(
    http: httpx.Client, provider: str, stream: bool
) -> None:
    """envoy ai-gateway#2553"""
    got = post(http, provider, body_of(provider, "gzip", stream, "x"))
    assert got.content == content(provider, "gzip", "stream.sse" if stream else "whole.json")


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_nothing_of_the_client_leaks_upstream(
    http: httpx.Client, upstream: Upstream, provider: str
) -> None:
    marker = uuid.uuid4().hex
    post(http, provider, body_of(provider, "chat", False, marker))
    asked = upstream.request(marker)
    fields = json.dumps(asked.raw["headers"])
    assert matrix.KEY not in fields
    assert "secret" not in fields
    assert asked.header("host") == [upstream.url.removeprefix("http://")]
    assert not [name for name, _ in asked.raw["headers"] if name.startswith("x-forwarded")]
    credentials = asked.header("authorization") + asked.header("x-api-key")
    assert len(credentials) == 1, "one credential, and the provider's"


def translated(stream: bool, scenario: str = "chat", **more: Any) -> bytes:
    user = {"role": "user", "content": "x"}
    body = {"model": f"anthropic/{scenario}", "messages": [user], "stream": stream}
    return json.dumps(body | more).encode()


def test_a_translated_stream_is_framed_as_openai_does(http: httpx.Client) -> None:
    """Exactly one `[DONE]`, at the end, behind a blank line: one-api#1628,
    Kong#14500. No ping: envoy ai-gateway#2548."""
    got = post(http, "openai", translated(True))
    text = got.text
    assert got.headers["content-type"].startswith("text/event-stream")
    assert text.count("[DONE]") == 1
    assert text.endswith("data: [DONE]\n\n")
    assert "ping" not in text and "event:" not in text
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    assert all(event["object"] == "chat.completion.chunk" for event in events)
    assert [e["choices"][0]["finish_reason"] for e in events].count("stop") == 1
    assert all("usage" not in e or e["usage"] is None for e in events)


def test_usage_of_a_translated_stream_is_the_last_chunk(http: httpx.Client) -> None:
    """litellm#28735: `choices: []`, and `usage: null` before."""
    options = {"stream_options": {"include_usage": True}}
    got = post(http, "openai", translated(True, **options))
    lines = [line[6:] for line in got.text.splitlines() if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] > 0
    assert all(event.get("usage") is None for event in events[:-1])


def test_a_translated_stream_is_framed_as_anthropic_does(http: httpx.Client) -> None:
    user = {"role": "user", "content": "x"}
    body = {"model": "openai/chat", "max_tokens": 9, "messages": [user], "stream": True}
    got = post(http, "anthropic", json.dumps(body).encode())
    assert got.headers["content-type"].startswith("text/event-stream")
    assert "[DONE]" not in got.text
    blocks = [block.splitlines() for block in got.text.strip().split("\n\n")]
    for name, data in blocks:
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert blocks[-1][0] == "event: message_stop"


@pytest.mark.parametrize("scenario", ["error-stream", "truncated", "truncated-end"])
def test_what_broke_has_no_terminator(http: httpx.Client, scenario: str) -> None:
    """Neither dialect's end may follow an error: envoy ai-gateway#2698."""
    try:
        text = post(http, "openai", translated(True, scenario)).text
    except httpx.HTTPError:
        return
    assert '"error"' in text
    assert '"finish_reason":"stop"' not in text.replace(" ", "")
    last = [line for line in text.splitlines() if line.startswith("data: {")][-1]
    assert "error" in json.loads(last[6:])


def test_an_error_is_written_in_the_dialect_of_the_client(http: httpx.Client) -> None:
    got = post(http, "openai", translated(False, "error-429"))
    assert got.status_code == 429
    error = got.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    body = {"model": "openai/error-429", "max_tokens": 9, "messages": []}
    body["messages"] = [{"role": "user", "content": "x"}]
    got = post(http, "anthropic", json.dumps(body).encode())
    assert got.json()["type"] == "error"
    assert got.json()["error"]["type"] == "rate_limit_error"


def test_a_prompt_of_some_megabytes_arrives(http: httpx.Client, upstream: Upstream) -> None:
    """envoy ai-gateway#827, agentgateway#2350"""
    marker = uuid.uuid4().hex
    text = marker + "é" * 2_000_000
    body = {"model": "openai/chat", "messages": [{"role": "user", "content": text}]}
    got = post(http, "openai", json.dumps(body, ensure_ascii=False).encode())
    assert got.status_code == 200
    assert upstream.request(marker).body["messages"][0]["content"] == text
