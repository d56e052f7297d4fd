"""What a test needs of an SDK, and where its requests go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from neutral import Answer, Question, Result

# What the transcripts play, roughly: it thinks, calls tools and takes schemas.
MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-sonnet-4-5", "cerebras": "gpt-oss-120b"}


@dataclass(frozen=True)
class Route:
    """Where the requests of an SDK go, and to which provider they shall get."""

    sdk: str
    provider: str
    # Of the gateway, or of the provider that the replay server plays; without
    # `/v1` and without a slash at the end.
    url: str
    key: str
    # Whether a gateway is between.
    gateway: bool

    def model(self, scenario: str) -> str:
        """The model to ask for: a real one, since a gateway may know what it
        takes, with the scenario behind it. A gateway finds the provider by the
        prefix."""
        model = f"{MODELS[self.provider]}+{scenario}"
        return f"{self.provider}/{model}" if self.gateway else model


class Speaker(ABC):
    """Asks questions through one SDK."""

    dialect: str
    sdk: ModuleType
    # What the SDK lets through from the library below it.
    transport_errors: tuple[type[Exception], ...]

    def __init__(self, route: Route) -> None:
        self.route = route
        self.client = self.connect()

    def settings(self) -> dict[str, Any]:
        """The arguments of every client."""
        return {"api_key": self.route.key, "max_retries": 0, "timeout": 10}

    @property
    def broken(self) -> tuple[type[Exception], ...]:
        """Every way in which the SDK tells that an answer broke off."""
        return (self.sdk.APIError, *self.transport_errors)

    def ask(self, question: Question, stream: bool, **options: Any) -> Answer:
        """Asks and takes in all of the answer."""
        if not stream:
            return self.whole(question, **options)
        listener = self.listener()
        with self.open(question, **options) as events:
            for event in events:
                listener.take(event)
        return listener.end()

    async def aask(self, client: Any, question: Question, stream: bool) -> Answer:
        """The same through an asynchronous client."""
        if not stream:
            return await self.awhole(client, question)
        listener = self.listener()
        async with await self.aopen(client, question) as events:
            async for event in events:
                listener.take(event)
        return listener.end()

    @abstractmethod
    def connect(self) -> Any:
        """A client."""

    @abstractmethod
    def aconnect(self) -> Any:
        """An asynchronous client."""

    @abstractmethod
    def whole(self, question: Question, **options: Any) -> Answer:
        """Asks for an answer in one piece."""

    @abstractmethod
    async def awhole(self, client: Any, question: Question, **options: Any) -> Answer:
        """The same through an asynchronous client."""

    @abstractmethod
    def open(self, question: Question, **options: Any) -> Any:
        """Asks for a stream: what the SDK returns, to iterate and to close."""

    @abstractmethod
    async def aopen(self, client: Any, question: Question, **options: Any) -> Any:
        """The same through an asynchronous client."""

    @abstractmethod
    def listener(self) -> Any:
        """Something with `take(event)`, `end()` and the `answer` so far."""

    @abstractmethod
    def turns(self, answer: Answer, results: list[Result]) -> list[Any]:
        """An answer that calls tools, and their results, for the history."""
