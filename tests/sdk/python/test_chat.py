"""Answers in words: whole, streamed, with instructions, in any script."""

from __future__ import annotations

import base64

import pytest

from neutral import MESSAGES, PNG, Question
from speaker import MODELS, Speaker
from transcripts import expected
from upstream import Upstream


@pytest.mark.parametrize("scenario", ["chat", "unicode", "empty"])
def test_an_answer_says_what_the_provider_said(
    speaker: Speaker, scenario: str, stream: bool
) -> None:
    answer = speaker.ask(Question(scenario), stream)
    said = expected(speaker.route.provider, scenario)
    assert answer.text == said.text
    assert answer.finish == "stop"
    assert answer.calls == []


@pytest.mark.parametrize("scenario", ["chat-bytes", "unicode-bytes", "gzip"])
def test_it_does_not_matter_how_the_bytes_come(
    speaker: Speaker, scenario: str, stream: bool
) -> None:
    answer = speaker.ask(Question(scenario), stream)
    assert answer.text == expected(speaker.route.provider, scenario).text
    assert answer.finish == "stop"


@pytest.mark.translated
def test_any_valid_framing_is_understood(speaker: Speaker) -> None:
    """CRLF, lone CR, comments, data in two lines, no event names, and no blank
    line behind the last event: apisix#13090, llm-gateway#2053, pi#4381."""
    answer = speaker.ask(Question("sse-odd"), stream=True)
    texts = {
        "openai": "Every line ending is allowed, and so are comments.",
        "anthropic": "Names of events may be missing, since the data has a type.",
        "cerebras": "Comments are not data.",
    }
    assert answer.text == texts[speaker.route.provider]


@pytest.mark.translated
@pytest.mark.provider("openai")
def test_a_first_chunk_without_choices_is_no_answer(speaker: Speaker, stream: bool) -> None:
    """As Azure's, which tells of its content filter there."""
    answer = speaker.ask(Question("prompt-filter"), stream)
    assert answer.text == "Filtered beforehand, and fine."


def test_instructions_arrive(
    speaker: Speaker, upstream: Upstream, marker: str, stream: bool
) -> None:
    question = Question("chat", f"Hello, {marker}", system="Answer in one\nshort sentence. ☂")
    speaker.ask(question, stream)
    asked = upstream.request(marker)
    assert asked.provider == speaker.route.provider
    assert asked.system == question.system
    assert asked.body["model"] == f"{MODELS[asked.provider]}+chat"
    assert bool(asked.body.get("stream")) == stream


@pytest.mark.sdk("openai", "cerebras")
@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_in_mid_conversation_are_not_lost(
    speaker: Speaker, upstream: Upstream, marker: str, role: str
) -> None:
    later = [
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Go on."},
        {"role": role, "content": f"From now on in French, {marker}."},
    ]
    answer = speaker.ask(Question("chat", history=later), stream=False)
    assert answer.text == expected(speaker.route.provider, "chat").text
    assert upstream.request(marker).text.count(marker) == 1


def test_a_conversation_keeps_its_turns(speaker: Speaker, upstream: Upstream, marker: str) -> None:
    turns = [
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": marker},
    ]
    speaker.ask(Question("chat", "Zero?", history=turns), stream=False)
    told = [
        (message["role"], _text(message["content"]))
        for message in upstream.request(marker).body["messages"]
    ]
    assert told == [("user", "Zero?")] + [(turn["role"], turn["content"]) for turn in turns]


def _text(content: object) -> object:
    if isinstance(content, list):
        return "".join(part["text"] for part in content)
    return content


def test_limits_and_stops_arrive(speaker: Speaker, upstream: Upstream, marker: str) -> None:
    question = Question("stop-sequence", marker, limit=123, stop=["###", "END"])
    speaker.ask(question, stream=False)
    asked = upstream.request(marker)
    assert asked.limit == 123
    assert asked.stop == ["###", "END"]


def test_an_image_arrives_as_it_was(
    speaker: Speaker, upstream: Upstream, marker: str, stream: bool
) -> None:
    answer = speaker.ask(Question("image", marker, image=PNG), stream)
    assert answer.text == expected(speaker.route.provider, "image").text
    assert upstream.request(marker).images == [base64.b64encode(PNG).decode()]


PDF = base64.b64encode(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n%%EOF\n").decode()


@pytest.mark.provider("openai", "anthropic")
def test_a_document_arrives_as_it_was(
    speaker: Speaker, upstream: Upstream, marker: str, stream: bool
) -> None:
    if speaker.dialect == MESSAGES:
        source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
        part = {"type": "document", "source": source}
    else:
        url = f"data:application/pdf;base64,{PDF}"
        part = {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}
    turns = [
        {"role": "assistant", "content": "Show me."},
        {"role": "user", "content": [part, {"type": "text", "text": marker}]},
    ]
    answer = speaker.ask(Question("chat", history=turns), stream)
    assert answer.text == expected(speaker.route.provider, "chat").text
    assert upstream.request(marker).documents == [PDF]


@pytest.mark.provider("anthropic")
def test_cache_breakpoints_arrive(speaker: Speaker, upstream: Upstream, marker: str) -> None:
    part = {"type": "text", "text": marker, "cache_control": {"type": "ephemeral"}}
    turns = [
        {"role": "assistant", "content": "Go on."},
        {"role": "user", "content": [part]},
    ]
    speaker.ask(Question("chat", history=turns), stream=False)
    assert upstream.request(marker).body["messages"][-1]["content"] == [part]
