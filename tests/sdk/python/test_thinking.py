"""What the model thought before it answered, shown and sent back."""

from __future__ import annotations

import pytest

from neutral import TIME, WEATHER, Question, Result
from speaker import Speaker
from transcripts import expected
from upstream import Upstream

THINKERS = ("anthropic", "cerebras")


@pytest.mark.provider(*THINKERS)
@pytest.mark.parametrize("scenario", ["thinking", "thinking-random"])
def test_thinking_is_shown(speaker: Speaker, scenario: str, stream: bool) -> None:
    answer = speaker.ask(Question(scenario, thinking=True), stream)
    said = expected(speaker.route.provider, "thinking")
    assert answer.reasoning == said.reasoning
    assert answer.text == said.text
    assert answer.finish == "stop"


@pytest.mark.sdk("anthropic")
@pytest.mark.provider("anthropic")
def test_a_signature_comes_as_it_was(speaker: Speaker, stream: bool) -> None:
    answer = speaker.ask(Question("thinking", thinking=True), stream)
    assert answer.signature == expected("anthropic", "thinking").signature


@pytest.mark.provider("openai")
def test_thinking_that_is_not_shown_is_not_made_up(speaker: Speaker, stream: bool) -> None:
    answer = speaker.ask(Question("thinking", thinking=True), stream)
    assert answer.reasoning == ""
    assert answer.text == expected("openai", "thinking").text


@pytest.mark.sdk("anthropic")
@pytest.mark.provider("anthropic")
def test_redacted_thinking_goes_back_as_it_came(speaker: Speaker, stream: bool) -> None:
    answer = speaker.ask(Question("thinking-redacted", thinking=True), stream)
    turns = [
        {"role": "assistant", "content": answer.native},
        {"role": "user", "content": "Go on."},
    ]
    last = speaker.ask(Question("thinking", thinking=True, history=turns), stream)
    assert last.text == expected("anthropic", "thinking").text


def test_a_turn_with_thinking_and_calls_goes_back(
    speaker: Speaker, upstream: Upstream, marker: str
) -> None:
    """Anthropic refuses a turn that called tools without its thinking, or with
    another signature: dify#41092."""
    tools = [WEATHER, TIME]
    answer = speaker.ask(Question("tool-thinking", tools=tools, thinking=True), stream=False)
    turns = speaker.turns(answer, [Result(call, "19 degrees") for call in answer.calls])
    question = Question("tool-result", marker, tools=tools, thinking=True, history=turns)
    last = speaker.ask(question, stream=False)
    provider = speaker.route.provider
    assert last.text == expected(provider, "tool-result").text
    if provider == "anthropic":
        asked = upstream.request(marker)
        (said,) = [m for m in asked.body["messages"] if m["role"] == "assistant"]
        thought = expected("anthropic", "tool-thinking")
        assert said["content"][0] == {
            "type": "thinking",
            "thinking": thought.reasoning,
            "signature": thought.signature,
        }


@pytest.mark.sdk("anthropic")
@pytest.mark.provider("openai", "cerebras")
def test_a_conversation_that_was_begun_elsewhere_goes_on(speaker: Speaker) -> None:
    """Signed thinking of another provider is no reason to refuse."""
    turns = [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"},
                {"type": "text", "text": "Seven."},
            ],
        },
        {"role": "user", "content": "Why?"},
    ]
    answer = speaker.ask(Question("chat", history=turns), stream=False)
    assert answer.text == expected(speaker.route.provider, "chat").text
