"""Fixtures, and the markers by which a test takes its part of the matrix."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

import matrix
from speaker import Speaker
from upstream import Upstream


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gateway: needs a gateway between SDK and provider")
    config.addinivalue_line("markers", "sdk(*names): only through these SDKs")
    config.addinivalue_line("markers", "provider(*names): only from these providers")
    config.addinivalue_line("markers", "translated: only where the dialects differ")
    if not matrix.REPLAY:
        raise pytest.UsageError("REPLAY_URL must be the URL of the replay server")
    # Everything is on this machine, whatever the environment says of proxies.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "speaker" in metafunc.fixturenames:
        chosen = [pair for pair in matrix.pairs() if _wanted(metafunc.definition, *pair)]
        ids = [f"{sdk}-to-{provider}" for sdk, provider in chosen]
        metafunc.parametrize("speaker", chosen, ids=ids, indirect=True)
    if "stream" in metafunc.fixturenames:
        metafunc.parametrize("stream", [False, True], ids=["whole", "stream"])


def _wanted(test: pytest.Item, sdk: str, provider: str) -> bool:
    for name, own in (("sdk", sdk), ("provider", provider)):
        marker = test.get_closest_marker(name)
        if marker and own not in marker.args:
            return False
    translated = not matrix.same_dialect(sdk, provider)
    return translated or not test.get_closest_marker("translated")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="PALISADE_URL is not set: there is no gateway")
    for item in items:
        if item.get_closest_marker("gateway") and not matrix.GATEWAY:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The replay server."""
    upstream = Upstream(matrix.REPLAY)
    yield upstream
    upstream.close()


@pytest.fixture
def speaker(request: pytest.FixtureRequest) -> Iterator[Speaker]:
    """One SDK on its way to one provider."""
    sdk, provider = request.param
    speaker = matrix.SPEAKERS[sdk](matrix.route(sdk, provider))
    yield speaker
    speaker.client.close()


@pytest.fixture
def marker() -> str:
    """Something to put into a prompt, to find the request again upstream."""
    return f"marker-{uuid.uuid4().hex}"
