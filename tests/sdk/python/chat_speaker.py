"""Speaks chat completions through the SDKs of OpenAI and Cerebras, and holds
every stream to what those SDKs and their users rely on.
"""

from __future__ import annotations

import base64
from typing import Any

import cerebras.cloud.sdk as cerebras
import httpx
import httpx2
import openai

from neutral import CHAT, Answer, Call, Question, Result, Usage
from speaker import Speaker


class ChatSpeaker(Speaker):
    """What both SDKs have in common: their surface is generated alike."""

    dialect = CHAT

    def request(self, question: Question) -> dict[str, Any]:
        """The arguments of `create`."""
        content: Any = question.prompt
        if question.image is not None:
            data = base64.b64encode(question.image).decode()
            url = {"url": f"data:image/png;base64,{data}"}
            content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": url}]
        system = [{"role": "system", "content": question.system}] if question.system else []
        asked: dict[str, Any] = {
            "model": self.route.model(question.scenario),
            "messages": [*system, {"role": "user", "content": content}, *question.history],
        }
        if question.tools:
            asked["tools"] = [_tool(tool) for tool in question.tools]
        if question.choice in ("auto", "none", "required"):
            asked["tool_choice"] = question.choice
        elif question.choice:
            asked["tool_choice"] = {"type": "function", "function": {"name": question.choice}}
        if question.parallel is not None:
            asked["parallel_tool_calls"] = question.parallel
        if question.schema:
            schema = {"name": "book", "schema": question.schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        if question.thinking:
            asked["reasoning_effort"] = "low"
        if question.limit:
            asked["max_completion_tokens"] = question.limit
        if question.stop:
            asked["stop"] = question.stop
        return asked

    def _streamed(self, question: Question) -> dict[str, Any]:
        asked = self.request(question) | {"stream": True}
        if question.include_usage:
            asked["stream_options"] = {"include_usage": True}
        return asked

    def whole(self, question: Question, **options: Any) -> Answer:
        create = self.client.chat.completions.create
        return _read(create(**self.request(question), **options))

    async def awhole(self, client: Any, question: Question, **options: Any) -> Answer:
        create = client.chat.completions.create
        return _read(await create(**self.request(question), **options))

    def open(self, question: Question, **options: Any) -> Any:
        return self.client.chat.completions.create(**self._streamed(question), **options)

    async def aopen(self, client: Any, question: Question, **options: Any) -> Any:
        return await client.chat.completions.create(**self._streamed(question), **options)

    def listener(self) -> Chunks:
        return Chunks()

    def turns(self, answer: Answer, results: list[Result]) -> list[Any]:
        told = [
            {"role": "tool", "tool_call_id": result.call.id, "content": result.text}
            for result in results
        ]
        return [answer.native, *told]


class OpenAISpeaker(ChatSpeaker):
    """The package `openai`."""

    sdk = openai
    transport_errors = (httpx2.HTTPError,)

    def connect(self) -> openai.OpenAI:
        return openai.OpenAI(**self._settings())

    def aconnect(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._settings())

    def _settings(self) -> dict[str, Any]:
        return {**self.settings(), "base_url": f"{self.route.url}/v1"}


class CerebrasSpeaker(ChatSpeaker):
    """The package `cerebras-cloud-sdk`. It warms its connection when it is
    made, which only the test of that wants."""

    sdk = cerebras
    transport_errors = (httpx.HTTPError,)

    def connect(self, warm: bool = False) -> cerebras.Cerebras:
        return cerebras.Cerebras(**self._settings(warm))

    def aconnect(self) -> cerebras.AsyncCerebras:
        return cerebras.AsyncCerebras(**self._settings(False))

    def _settings(self, warm: bool) -> dict[str, Any]:
        return {**self.settings(), "base_url": self.route.url, "warm_tcp_connection": warm}


def _tool(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "parameters": tool.schema}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _read(completion: Any) -> Answer:
    body = completion.to_dict(mode="json", warnings=False)
    assert body["object"] == "chat.completion"
    assert isinstance(body["id"], str) and body["id"]
    assert isinstance(body["created"], int)
    choice = body["choices"][0]
    message = choice["message"]
    assert message["role"] == "assistant"
    return Answer(
        text=message.get("content") or "",
        reasoning=reasoning(message),
        calls=[
            Call(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or []
        ],
        finish=choice["finish_reason"],
        usage=_usage(body.get("usage")),
        native=completion.choices[0].message,
    )


def reasoning(message: dict[str, Any]) -> str:
    """Cerebras shows what was thought as `reasoning`, most others as
    `reasoning_content`."""
    return message.get("reasoning_content") or message.get("reasoning") or ""


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if usage is None:
        return None
    read, wrote = usage["prompt_tokens"], usage["completion_tokens"]
    assert usage["total_tokens"] == read + wrote
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(read, wrote, cached, thought)


class Chunks:
    """Puts a stream together, for the first choice."""

    def __init__(self) -> None:
        self.answer = Answer()
        self._ids: set[str] = set()
        self._calls: dict[int, Call] = {}
        self._roles: list[str] = []

    def take(self, chunk: Any) -> None:
        chunk = chunk.to_dict(mode="json", warnings=False)
        if chunk.get("usage"):
            assert self.answer.usage is None, "tokens are counted once"
            self.answer.usage = _usage(chunk["usage"])
        for choice in chunk["choices"]:
            assert chunk["object"] == "chat.completion.chunk"
            self._ids.add(chunk["id"])
            if choice["index"] == 0:
                self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> None:
        assert self.answer.finish is None, f"after the end came {choice}"
        delta = choice.get("delta") or {}
        if delta.get("role"):
            self._roles.append(delta["role"])
        self.answer.text += delta.get("content") or ""
        self.answer.reasoning += reasoning(delta)
        for call in delta.get("tool_calls") or []:
            self._call(call)
        self.answer.finish = choice.get("finish_reason")

    def _call(self, delta: dict[str, Any]) -> None:
        function = delta.get("function") or {}
        known = self._calls.get(delta["index"])
        if known is None:
            # What users build from the first delta of a call.
            assert delta["type"] == "function" and delta["id"] and function["name"]
            assert delta["index"] == len(self._calls), "calls are numbered as they begin"
            known = Call(delta["id"], function["name"], "")
            self._calls[delta["index"]] = known
        known.arguments += function.get("arguments") or ""

    def end(self) -> Answer:
        """The answer, once the stream is over."""
        answer = self.answer
        assert answer.finish is not None, "a stream ends with a reason"
        assert len(self._ids) == 1, f"one answer has one identifier, not {self._ids}"
        assert self._roles[:1] == ["assistant"]
        answer.calls = [self._calls[index] for index in sorted(self._calls)]
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.calls
            ]
        answer.native = message
        return answer
