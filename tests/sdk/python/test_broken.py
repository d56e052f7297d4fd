"""Streams that break: an error in their midst, or no end. The SDK must raise;
an answer that only looks complete is the worst of all.
"""

from __future__ import annotations

from typing import Any

import pytest

from neutral import Question
from speaker import Speaker
from transcripts import expected

MESSAGES = {
    "openai": "The server had an error while processing your request",
    "anthropic": "Overloaded",
    "cerebras": "Encountered a server error",
}


def broken(speaker: Speaker, scenario: str) -> tuple[Any, Exception]:
    """What came of a stream before it broke, and how it broke."""
    listener = speaker.listener()
    with pytest.raises(speaker.broken) as raised:
        for event in speaker.open(Question(scenario)):
            listener.take(event)
    assert listener.answer.finish is None, "what broke has not finished"
    return listener.answer, raised.value


def test_an_error_in_mid_stream_is_raised(speaker: Speaker) -> None:
    """Portkey#722, envoy ai-gateway#2698"""
    answer, error = broken(speaker, "error-stream")
    provider = speaker.route.provider
    assert isinstance(error, speaker.sdk.APIError)
    assert MESSAGES[provider] in str(error)
    assert answer.text != ""
    assert expected(provider, "chat").text.startswith(answer.text)


def test_an_error_in_place_of_a_stream_is_raised(speaker: Speaker) -> None:
    answer, error = broken(speaker, "error-first")
    assert isinstance(error, speaker.sdk.APIError)
    assert MESSAGES[speaker.route.provider] in str(error)
    assert answer.text == ""


@pytest.mark.parametrize("scenario", ["truncated", "truncated-reset"])
def test_a_stream_that_is_cut_off_is_raised(speaker: Speaker, scenario: str) -> None:
    answer, _ = broken(speaker, scenario)
    assert expected(speaker.route.provider, "chat").text.startswith(answer.text)


@pytest.mark.translated
def test_a_stream_without_its_terminator_is_raised(speaker: Speaker) -> None:
    """HTTP says that the body is whole; the provider's dialect says it is not."""
    answer, error = broken(speaker, "truncated-end")
    assert isinstance(error, speaker.sdk.APIError)
    assert expected(speaker.route.provider, "chat").text.startswith(answer.text)


@pytest.mark.parametrize("scenario", ["truncated", "truncated-reset"])
def test_a_whole_answer_that_is_cut_off_is_raised(speaker: Speaker, scenario: str) -> None:
    with pytest.raises(speaker.broken):
        speaker.ask(Question(scenario), stream=False)


@pytest.mark.translated
def test_a_whole_answer_that_is_no_json_is_raised(speaker: Speaker) -> None:
    with pytest.raises(speaker.sdk.InternalServerError) as raised:
        speaker.ask(Question("truncated-end"), stream=False)
    assert raised.value.status_code == 502
