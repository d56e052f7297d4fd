"""Tokens that are counted, and the reasons for which answers end."""

from __future__ import annotations

import pytest

from neutral import WEATHER, Question
from speaker import Speaker
from transcripts import expected

SCENARIOS = ["chat", "usage", "thinking", "tool-single"]


def ask(scenario: str) -> Question:
    tools = [WEATHER] if scenario.startswith("tool") else []
    thinking = scenario == "thinking"
    return Question(scenario, tools=tools, thinking=thinking, include_usage=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_tokens_are_counted_as_the_provider_did(
    speaker: Speaker, scenario: str, stream: bool
) -> None:
    """All that was read counts as input, from a cache or not, and once:
    litellm#31069, vercel/ai#17326."""
    usage = speaker.ask(ask(scenario), stream).usage
    counted = expected(speaker.route.provider, scenario).usage
    assert usage is not None and counted is not None
    assert (usage.input, usage.output) == (counted.input, counted.output)
    assert usage.cached == counted.cached


@pytest.mark.sdk("openai", "cerebras")
@pytest.mark.provider("openai", "cerebras")
def test_tokens_of_thinking_are_told(speaker: Speaker, stream: bool) -> None:
    usage = speaker.ask(ask("thinking"), stream).usage
    counted = expected(speaker.route.provider, "thinking").usage
    assert usage is not None and counted is not None
    assert usage.reasoning == counted.reasoning


@pytest.mark.sdk("openai", "cerebras")
@pytest.mark.provider("openai", "anthropic")
def test_a_stream_counts_only_when_asked(speaker: Speaker) -> None:
    """litellm#28735. Cerebras counts unasked."""
    answer = speaker.ask(Question("chat"), stream=True)
    assert answer.usage is None


@pytest.mark.sdk("openai")
@pytest.mark.provider("openai", "anthropic")
def test_the_count_is_a_last_chunk_without_choices(speaker: Speaker) -> None:
    chunks = list(speaker.open(Question("chat", include_usage=True)))
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [("length", "length"), ("stop-sequence", "stop"), ("filtered", "content_filter")],
)
def test_an_answer_tells_why_it_ended(
    speaker: Speaker, scenario: str, reason: str, stream: bool
) -> None:
    answer = speaker.ask(Question(scenario, stop=["###"]), stream)
    assert answer.finish == reason
    assert answer.text == expected(speaker.route.provider, scenario).text


@pytest.mark.sdk("anthropic")
@pytest.mark.provider("anthropic")
def test_the_stop_sequence_is_told(speaker: Speaker, stream: bool) -> None:
    answer = speaker.ask(Question("stop-sequence", stop=["###"]), stream)
    assert answer.stop_sequence == "###"


@pytest.mark.translated
@pytest.mark.provider("openai")
def test_an_answer_that_ends_without_a_reason_gets_one(speaker: Speaker) -> None:
    """vercel/ai#12218"""
    answer = speaker.ask(Question("finish-missing"), stream=True)
    assert answer.finish == "stop"
    assert answer.text == "It ended without saying why."


@pytest.mark.sdk("openai")
@pytest.mark.provider("openai")
def test_several_choices_and_refusals_are_told_apart(speaker: Speaker) -> None:
    asked = speaker.request(Question("choices")) | {"n": 2}
    whole = speaker.client.chat.completions.create(**asked)
    texts = [choice.message.content for choice in whole.choices]
    streamed = {0: "", 1: ""}
    for chunk in speaker.client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert [streamed[0], streamed[1]] == texts
    declined = speaker.client.chat.completions.create(**speaker.request(Question("refusal")))
    assert declined.choices[0].message.refusal == "I'm sorry, but I can't help with that."
    assert declined.choices[0].message.content is None
