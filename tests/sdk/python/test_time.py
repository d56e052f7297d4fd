"""Time-outs and cancellation: whoever waits no longer is no longer worked for.
Upstream sees the connection close within a second (litellm#37140).
"""

from __future__ import annotations

import asyncio
import time

import pytest

from neutral import Question
from speaker import Speaker
from upstream import Upstream


def test_a_client_that_waits_too_long_gives_up(
    speaker: Speaker, upstream: Upstream, marker: str, stream: bool
) -> None:
    with pytest.raises(speaker.sdk.APITimeoutError):
        speaker.ask(Question("hang", marker), stream, timeout=0.5)
    asked = upstream.hung_up(marker)
    assert asked.raw["status"] is None, "there was no answer yet"


def test_a_client_that_closes_a_stream_ends_it(
    speaker: Speaker, upstream: Upstream, marker: str
) -> None:
    events = speaker.open(Question("slow", marker))
    taken = [next(events), next(events)]
    assert len(taken) == 2
    events.close()
    closed = upstream.hung_up(marker)
    assert closed.raw["sent"] > 0


def test_a_stream_that_stalls_is_given_up(
    speaker: Speaker, upstream: Upstream, marker: str
) -> None:
    provider = speaker.route.provider
    upstream.play(provider, "slow", chunk_delay_ms=60_000)
    try:
        with pytest.raises((speaker.sdk.APITimeoutError, *speaker.transport_errors)):
            speaker.ask(Question("slow", marker), stream=True, timeout=0.5)
        upstream.hung_up(marker)
    finally:
        upstream.restore()


def test_a_stream_is_not_held_back(speaker: Speaker) -> None:
    """Each event comes when the provider sends it."""
    start = time.monotonic()
    events = speaker.open(Question("slow"))
    # The head and a word or two.
    for _ in range(3):
        next(events)
    first = time.monotonic() - start
    for _ in range(4):
        next(events)
    later = time.monotonic() - start
    events.close()
    assert first < 1.5, f"the first words took {first} seconds"
    assert later > first + 0.3, "the rest cannot have come with them"


def test_a_task_that_is_cancelled_ends_its_request(
    speaker: Speaker, upstream: Upstream, marker: str, stream: bool
) -> None:
    async def run() -> None:
        async with speaker.aconnect() as client:
            asking = asyncio.create_task(speaker.aask(client, Question("slow", marker), stream))
            await asyncio.sleep(0.4)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.to_thread(upstream.hung_up, marker)

    asyncio.run(run())
