"""The matrix: every SDK against every provider.

`PALISADE_URL` is the gateway, `PALISADE_KEY` the key that clients show to it,
`REPLAY_URL` the replay server. Without `PALISADE_URL` the SDKs talk to the
replay server itself, each to the providers of its own dialect: that proves the
tests, so that what fails later is the gateway.
"""

from __future__ import annotations

import os

from chat_speaker import CerebrasSpeaker, OpenAISpeaker
from messages_speaker import AnthropicSpeaker
from neutral import DIALECTS
from speaker import Route

SPEAKERS = {
    "openai": OpenAISpeaker,
    "anthropic": AnthropicSpeaker,
    "cerebras": CerebrasSpeaker,
}
PROVIDERS = list(SPEAKERS)

GATEWAY = os.environ.get("PALISADE_URL", "").rstrip("/")
KEY = os.environ.get("PALISADE_KEY", "palisade-client")
REPLAY = os.environ.get("REPLAY_URL", "").rstrip("/")

# What the providers take when there is no gateway to put its own key.
DIRECT_KEYS = {"openai": "sk-direct", "anthropic": "sk-ant-direct", "cerebras": "csk-direct"}


def route(sdk: str, provider: str) -> Route:
    """The way of a pair."""
    if GATEWAY:
        return Route(sdk, provider, GATEWAY, KEY, gateway=True)
    return Route(sdk, provider, f"{REPLAY}/{provider}", DIRECT_KEYS[provider], gateway=False)


def same_dialect(sdk: str, provider: str) -> bool:
    """Whether the SDK speaks what the provider takes."""
    return DIALECTS[sdk] == DIALECTS[provider]


def pairs() -> list[tuple[str, str]]:
    """All pairs of SDK and provider; directly, those of one dialect."""
    every = [(sdk, provider) for sdk in SPEAKERS for provider in PROVIDERS]
    return [pair for pair in every if GATEWAY or same_dialect(*pair)]
