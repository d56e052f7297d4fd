"""The asynchronous clients, and many questions at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from neutral import TIME, WEATHER, Question
from speaker import Speaker
from transcripts import expected


def run(speaker: Speaker, *asked: tuple[Question, bool]) -> list[Any]:
    """Asks everything at once through one client."""

    async def all_of_them() -> list[Any]:
        async with speaker.aconnect() as client:
            tasks = [speaker.aask(client, question, stream) for question, stream in asked]
            return await asyncio.gather(*tasks)

    return asyncio.run(all_of_them())


def test_one_answer(speaker: Speaker, stream: bool) -> None:
    (answer,) = run(speaker, (Question("unicode"), stream))
    assert answer.text == expected(speaker.route.provider, "unicode").text


def test_calls(speaker: Speaker, stream: bool) -> None:
    (answer,) = run(speaker, (Question("tools-parallel", tools=[WEATHER, TIME]), stream))
    said = expected(speaker.route.provider, "tools-parallel")
    assert [call.values for call in answer.calls] == [call.values for call in said.calls]


def test_answers_at_once_do_not_mix(speaker: Speaker) -> None:
    scenarios = ["chat", "unicode", "length", "usage", "chat-bytes", "image"] * 4
    asked = [(Question(scenario), index % 3 != 0) for index, scenario in enumerate(scenarios)]
    answers = run(speaker, *asked)
    provider = speaker.route.provider
    whole = {"chat-bytes": "chat"}
    texts = [expected(provider, whole.get(scenario, scenario)).text for scenario in scenarios]
    assert [answer.text for answer in answers] == texts


def test_an_error(speaker: Speaker, stream: bool) -> None:
    with pytest.raises(speaker.sdk.RateLimitError) as raised:
        run(speaker, (Question("error-429"), stream))
    assert raised.value.response.headers["retry-after"] == "7"


def test_a_broken_stream(speaker: Speaker) -> None:
    with pytest.raises(speaker.broken):
        run(speaker, (Question("truncated"), True))
    with pytest.raises(speaker.sdk.APIError):
        run(speaker, (Question("error-stream"), True))
