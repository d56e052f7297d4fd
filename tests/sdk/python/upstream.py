"""The replay server as tests see it: what it was asked, and how it plays.

`Asked` reads a provider's request in a form of no dialect, so that a test can
say "the schema arrived" for all three.
"""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from neutral import Tool


class Upstream:
    """A running replay server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=5)

    def play(self, provider: str, scenario: str, **play: Any) -> None:
        """Plays a scenario otherwise, until `restore`."""
        body = {"provider": provider, "scenario": scenario, "play": play}
        self._http.post("/_control", json=body).raise_for_status()

    def restore(self) -> None:
        """Plays everything as its files say."""
        self._http.delete("/_control").raise_for_status()

    def requests(self, marker: str) -> list[Asked]:
        """The requests whose body has the marker, in the order they came."""
        every = self._http.get("/_requests").json()
        return [Asked(one) for one in every if marker in one.get("body", "")]

    def request(self, marker: str) -> Asked:
        """The one request whose body has the marker."""
        (request,) = self.requests(marker)
        return request

    def hung_up(self, marker: str, within: float = 1.0) -> Asked:
        """Waits until the peer has closed the connection on the request."""
        end = time.monotonic() + within
        while True:
            request = self.request(marker)
            if request.raw["closed"] is not None or time.monotonic() > end:
                assert request.raw["closed"] is not None, f"upstream still answers: {request.raw}"
                return request
            time.sleep(0.02)

    def close(self) -> None:
        self._http.close()


class Asked:
    """One request as a provider got it."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.provider = raw["path"].split("/")[1]
        self.text: str = raw["body"]
        self.body: dict[str, Any] = json.loads(raw["body"])

    def header(self, name: str) -> list[str]:
        return [value for own, value in self.raw["headers"] if own == name]

    @property
    def _anthropic(self) -> bool:
        return self.provider == "anthropic"

    @property
    def system(self) -> str:
        """All instructions, joined by blank lines."""
        if self._anthropic:
            system = self.body.get("system") or []
            return system if isinstance(system, str) else "\n\n".join(b["text"] for b in system)
        messages = self.body["messages"]
        told = [m["content"] for m in messages if m["role"] in ("system", "developer")]
        texts = [t if isinstance(t, str) else "".join(p["text"] for p in t) for t in told]
        return "\n\n".join(texts)

    @property
    def tools(self) -> list[Tool]:
        tools = self.body.get("tools") or []
        if self._anthropic:
            return [Tool(t["name"], t["input_schema"], t.get("description")) for t in tools]
        functions = [tool["function"] for tool in tools]
        return [Tool(f["name"], f["parameters"], f.get("description")) for f in functions]

    @property
    def choice(self) -> str | None:
        """As `Question.choice`."""
        choice = self.body.get("tool_choice")
        if choice is None or isinstance(choice, str):
            return choice
        if self._anthropic:
            return {"any": "required", "tool": choice.get("name")}.get(
                choice["type"], choice["type"]
            )
        return choice["function"]["name"]

    @property
    def parallel(self) -> bool:
        if self._anthropic:
            choice = self.body.get("tool_choice") or {}
            return not choice.get("disable_parallel_tool_use", False)
        return self.body.get("parallel_tool_calls") is not False

    @property
    def schema(self) -> Any:
        if self._anthropic:
            return self.body["output_config"]["format"]["schema"]
        return self.body["response_format"]["json_schema"]["schema"]

    @property
    def limit(self) -> int | None:
        if self._anthropic:
            return self.body["max_tokens"]
        return self.body.get("max_completion_tokens", self.body.get("max_tokens"))

    @property
    def stop(self) -> list[str]:
        stop = self.body.get("stop_sequences" if self._anthropic else "stop") or []
        return [stop] if isinstance(stop, str) else stop

    @property
    def images(self) -> list[str]:
        """The base64 text of each image, in the order of the body."""
        return list(_images(self.body["messages"]))

    @property
    def documents(self) -> list[str]:
        """The base64 text of each document, in the order of the body."""
        parts = [p for m in self.body["messages"] for p in m["content"] if isinstance(p, dict)]
        if self._anthropic:
            return [p["source"]["data"] for p in parts if p["type"] == "document"]
        files = [p["file"]["file_data"] for p in parts if p["type"] == "file"]
        return [url.partition(";base64,")[2] for url in files]

    @property
    def call_ids(self) -> list[str]:
        """The identifiers of the calls in the history."""
        ids = []
        for message in self.body["messages"]:
            ids += [call["id"] for call in message.get("tool_calls") or []]
            if isinstance(message.get("content"), list):
                ids += [b["id"] for b in message["content"] if b["type"] == "tool_use"]
        return ids


def _images(value: Any) -> Any:
    if isinstance(value, list):
        for one in value:
            yield from _images(one)
    elif isinstance(value, dict):
        if value.get("type") == "image_url":
            yield value["image_url"]["url"].partition(";base64,")[2]
        elif value.get("type") == "image":
            yield value["source"]["data"]
        else:
            yield from _images(list(value.values()))
