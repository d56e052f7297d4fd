"""What the SDKs build on top of streams: applications use these most, and they
are the first to stumble over an event that is not quite right.
"""

from __future__ import annotations

import json

import pytest

from chat_speaker import reasoning
from neutral import TIME, WEATHER, Question
from speaker import Speaker
from transcripts import expected

TOOLS = [WEATHER, TIME]


@pytest.mark.sdk("openai")
@pytest.mark.parametrize("scenario", ["chat", "tools-parallel", "tool-text", "thinking"])
def test_openai_stream_puts_a_completion_together(speaker: Speaker, scenario: str) -> None:
    question = Question(scenario, tools=TOOLS if scenario.startswith("tool") else [])
    question.thinking = scenario == "thinking"
    with speaker.client.chat.completions.stream(
        **speaker.request(question), stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type for event in stream]
        completion = stream.get_final_completion()
    said = expected(speaker.route.provider, scenario)
    message = completion.choices[0].message
    assert (message.content or "") == said.text
    calls = [call.function for call in message.tool_calls or []]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        (call.name, call.values) for call in said.calls
    ]
    assert completion.choices[0].finish_reason == said.finish
    assert completion.usage.completion_tokens == said.usage.output
    if said.text:
        assert "content.delta" in kinds and "content.done" in kinds
    if said.calls:
        assert kinds.count("tool_calls.function.arguments.done") == len(said.calls)
    if said.reasoning:
        assert reasoning(message.to_dict()) == said.reasoning


@pytest.mark.sdk("anthropic")
@pytest.mark.parametrize("scenario", ["chat", "tools-parallel", "tool-text", "thinking", "usage"])
def test_anthropic_stream_puts_a_message_together(speaker: Speaker, scenario: str) -> None:
    question = Question(scenario, tools=TOOLS if scenario.startswith("tool") else [])
    question.thinking = scenario == "thinking"
    with speaker.client.messages.stream(**speaker.request(question)) as stream:
        events = list(stream)
        message = stream.get_final_message()
    said = expected(speaker.route.provider, scenario)
    assert "".join(b.text for b in message.content if b.type == "text") == said.text
    assert "".join(b.thinking for b in message.content if b.type == "thinking") == said.reasoning
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [
        (call.name, call.values) for call in said.calls
    ]
    assert message.usage.output_tokens == said.usage.output
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")
    if said.text:
        assert "".join(e.text for e in events if e.type == "text") == said.text


@pytest.mark.sdk("anthropic")
def test_anthropic_text_stream_is_the_text(speaker: Speaker) -> None:
    with speaker.client.messages.stream(**speaker.request(Question("unicode"))) as stream:
        text = "".join(stream.text_stream)
    assert text == expected(speaker.route.provider, "unicode").text


def test_the_raw_response_is_json(speaker: Speaker) -> None:
    asked = speaker.request(Question("chat"))
    if speaker.route.sdk == "anthropic":
        raw = speaker.client.messages.with_raw_response.create(**asked)
    else:
        raw = speaker.client.chat.completions.with_raw_response.create(**asked)
    assert "application/json" in raw.headers["content-type"]
    assert raw.parse() is not None
