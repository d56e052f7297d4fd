"""Answers in the form of a JSON schema."""

from __future__ import annotations

import json

import pydantic
import pytest

from neutral import BOOK, Question
from speaker import Speaker
from transcripts import expected
from upstream import Upstream


class Author(pydantic.BaseModel):
    """A part of `Book`."""

    name: str
    born: int


class Book(pydantic.BaseModel):
    """What the transcripts of `structured` describe."""

    title: str
    author: Author
    rating: float
    tags: list[str]
    in_print: bool


def test_the_schema_arrives_and_the_answer_follows_it(
    speaker: Speaker, upstream: Upstream, marker: str, stream: bool
) -> None:
    answer = speaker.ask(Question("structured", marker, schema=BOOK), stream)
    said = expected(speaker.route.provider, "structured")
    assert json.loads(answer.text) == json.loads(said.text)
    assert answer.calls == []
    assert answer.finish == "stop"
    assert upstream.request(marker).schema == BOOK


@pytest.mark.sdk("openai")
def test_openai_parses_into_a_model(speaker: Speaker) -> None:
    asked = speaker.request(Question("structured"))
    completion = speaker.client.chat.completions.parse(**asked, response_format=Book)
    said = expected(speaker.route.provider, "structured")
    assert completion.choices[0].message.parsed == Book.model_validate_json(said.text)


@pytest.mark.sdk("anthropic")
def test_anthropic_parses_into_a_model(speaker: Speaker) -> None:
    asked = speaker.request(Question("structured"))
    message = speaker.client.messages.parse(**asked, output_format=Book)
    said = expected(speaker.route.provider, "structured")
    assert message.parsed_output == Book.model_validate_json(said.text)
