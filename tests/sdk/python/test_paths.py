"""Paths that have no dialect are passed through."""

from __future__ import annotations

import json
import time

import httpx
import pytest

import matrix
from chat_speaker import CerebrasSpeaker
from speaker import Speaker
from transcripts import content
from upstream import Upstream


def listing(provider: str) -> list[str]:
    models = json.loads(content(provider, "get-models", "whole.json"))["data"]
    return [model["id"] for model in models]


def test_models_are_listed(speaker: Speaker) -> None:
    """A request without a model goes where the manifest says: to OpenAI."""
    if speaker.route.provider != speaker.route.sdk:
        pytest.skip("the path names no provider")
    listed = [model.id for model in speaker.client.models.list().data]
    assert listed == listing("openai" if speaker.route.gateway else speaker.route.provider)


@pytest.mark.gateway
def test_an_answer_without_a_dialect_comes_byte_for_byte(upstream: Upstream) -> None:
    with httpx.Client(trust_env=False, headers=_key()) as http:
        got = http.get(f"{matrix.GATEWAY}/v1/models")
        assert got.content == content("openai", "get-models", "whole.json")
        body = b'{ "model":"text-embedding-3-small",\n "input" : "caf\\u00e9" }'
        headers = {"content-type": "application/json"}
        got = http.post(f"{matrix.GATEWAY}/v1/embeddings", content=body, headers=headers)
        assert got.content == content("openai", "post-embeddings", "whole.json")
    (asked,) = [one for one in upstream.requests("text-embedding-3-small")][-1:]
    assert asked.text.encode() == body


def _key() -> dict[str, str]:
    return {"authorization": f"Bearer {matrix.KEY}"}


@pytest.mark.sdk("cerebras")
@pytest.mark.provider("cerebras")
def test_a_cerebras_client_may_warm_its_connection(speaker: CerebrasSpeaker) -> None:
    """It asks for `GET /v1/tcp_warming` when it is made, and waits a second."""
    start = time.monotonic()
    speaker.connect(warm=True).close()
    assert time.monotonic() - start < 1
