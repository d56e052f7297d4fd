"""Errors: each SDK's own exception, with the status and the message of the
provider, streamed or not.
"""

from __future__ import annotations

import email.utils
from typing import Any

import pytest

from neutral import Question
from speaker import Speaker
from transcripts import error_message

# The class of each status, by the name that all three SDKs give it.
CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
    502: "InternalServerError",
    503: "InternalServerError",
    529: "InternalServerError",
}
# The name that Anthropic's dialect has for each.
TYPES = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    403: {"permission_error"},
    404: {"not_found_error"},
    429: {"rate_limit_error"},
    500: {"api_error"},
    503: {"api_error", "overloaded_error"},
    529: {"overloaded_error"},
}


def failure(speaker: Speaker, scenario: str, stream: bool) -> Any:
    """The exception that a question ends with."""
    with pytest.raises(speaker.sdk.APIStatusError) as raised:
        speaker.ask(Question(scenario), stream)
    return raised.value


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_an_error_has_its_class_status_and_message(
    speaker: Speaker, status: int, stream: bool
) -> None:
    error = failure(speaker, f"error-{status}", stream)
    assert type(error).__name__ == CLASSES[status] or isinstance(
        error, getattr(speaker.sdk, CLASSES[status])
    )
    assert error.status_code == status
    assert error_message(speaker.route.provider, f"error-{status}") in str(error)
    if speaker.route.sdk == "anthropic":
        assert error.type in TYPES[status]


@pytest.mark.provider("anthropic")
def test_an_overload_keeps_its_status(speaker: Speaker, stream: bool) -> None:
    """529 is Anthropic's own: better-ccflare#236."""
    error = failure(speaker, "error-529", stream)
    assert error.status_code == 529
    assert isinstance(error, speaker.sdk.InternalServerError)
    assert "Overloaded" in str(error)
    if speaker.route.sdk == "anthropic":
        assert isinstance(error, speaker.sdk.OverloadedError)
        assert error.type == "overloaded_error"


@pytest.mark.sdk("openai")
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_openai_finds_the_parts_of_an_error(speaker: Speaker, status: int) -> None:
    if speaker.route.provider == "cerebras" and not speaker.route.gateway:
        pytest.skip("what Cerebras sends itself has another shape")
    error = failure(speaker, f"error-{status}", stream=False)
    assert isinstance(error.type, str) and error.type
    assert error.body["message"] == error_message(speaker.route.provider, f"error-{status}")


def test_the_wait_before_a_retry_is_seen(speaker: Speaker, stream: bool) -> None:
    """In seconds, as both forms that HTTP has: aisix#144, hawk#1414."""
    error = failure(speaker, "error-429", stream)
    assert error.response.headers["retry-after"] == "7"
    late = failure(speaker, "error-429-date", stream).response.headers["retry-after"]
    assert late.isdigit() or email.utils.parsedate_to_datetime(late).year == 2037


def test_a_page_of_a_proxy_is_an_error_too(speaker: Speaker, stream: bool) -> None:
    error = failure(speaker, "error-502", stream)
    assert error.status_code == 502
    assert isinstance(error, speaker.sdk.InternalServerError)


@pytest.mark.gateway
@pytest.mark.translated
def test_a_page_of_a_proxy_is_translated(speaker: Speaker) -> None:
    error = failure(speaker, "error-502", stream=False)
    assert "application/json" in error.response.headers["content-type"]
    assert isinstance(error.body, dict)


def test_a_model_that_does_not_exist_is_not_found(speaker: Speaker, stream: bool) -> None:
    error = failure(speaker, "no-such-model", stream)
    assert isinstance(error, speaker.sdk.NotFoundError)
    assert "no-such-model" in str(error)


def test_what_the_provider_refuses_is_a_bad_request(speaker: Speaker, stream: bool) -> None:
    """`structured` needs a schema, and this question has none."""
    error = failure(speaker, "structured", stream)
    assert isinstance(error, speaker.sdk.BadRequestError)
    assert "needs" in str(error)
