"""Speaks Anthropic's messages through its SDK, and holds every stream to the
order of events that the SDK and its users rely on.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import anthropic
import httpx2

from neutral import MESSAGES, Answer, Call, Question, Result, Usage
from speaker import Speaker
from transcripts import FINISH


class AnthropicSpeaker(Speaker):
    """The package `anthropic`."""

    dialect = MESSAGES
    sdk = anthropic
    transport_errors = (httpx2.HTTPError,)

    def connect(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.route.url, **self.settings())

    def aconnect(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.route.url, **self.settings())

    def request(self, question: Question) -> dict[str, Any]:
        """The arguments of `create`."""
        content: Any = question.prompt
        if question.image is not None:
            content = [{"type": "text", "text": content}, _image(question.image)]
        asked: dict[str, Any] = {
            "model": self.route.model(question.scenario),
            "max_tokens": question.limit or 4096,
            "messages": [{"role": "user", "content": content}, *question.history],
        }
        if question.system:
            asked["system"] = question.system
        if question.tools:
            asked["tools"] = [_tool(tool) for tool in question.tools]
        if question.choice or question.parallel is not None:
            kinds = {None: "auto", "auto": "auto", "none": "none", "required": "any"}
            choice: dict[str, Any] = {"type": kinds.get(question.choice, "tool")}
            if choice["type"] == "tool":
                choice["name"] = question.choice
            if question.parallel is not None:
                choice["disable_parallel_tool_use"] = not question.parallel
            asked["tool_choice"] = choice
        if question.schema:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": question.schema}}
        if question.thinking:
            asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        if question.stop:
            asked["stop_sequences"] = question.stop
        return asked

    def whole(self, question: Question, **options: Any) -> Answer:
        return _read(self.client.messages.create(**self.request(question), **options))

    async def awhole(self, client: Any, question: Question, **options: Any) -> Answer:
        return _read(await client.messages.create(**self.request(question), **options))

    def open(self, question: Question, **options: Any) -> Any:
        return self.client.messages.create(**self.request(question), stream=True, **options)

    async def aopen(self, client: Any, question: Question, **options: Any) -> Any:
        return await client.messages.create(**self.request(question), stream=True, **options)

    def listener(self) -> Events:
        return Events()

    def turns(self, answer: Answer, results: list[Result]) -> list[Any]:
        blocks = []
        for result in results:
            content: Any = result.text
            if result.image is not None:
                content = [{"type": "text", "text": result.text}, _image(result.image)]
            block = {"type": "tool_result", "tool_use_id": result.call.id, "content": content}
            blocks.append(block | ({"is_error": True} if result.failed else {}))
        said = {"role": "assistant", "content": answer.native}
        return [said, {"role": "user", "content": blocks}]


def _image(png: bytes) -> dict[str, Any]:
    data = base64.b64encode(png).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def _tool(tool: Any) -> dict[str, Any]:
    told = {"name": tool.name, "input_schema": tool.schema}
    return told | ({"description": tool.description} if tool.description is not None else {})


def _read(message: Any) -> Answer:
    assert message.type == "message" and message.role == "assistant" and message.id
    answer = Answer(
        finish=FINISH[message.stop_reason],
        stop_sequence=message.stop_sequence,
        usage=_usage(message.usage.to_dict()),
        native=message.content,
    )
    for block in message.content:
        if block.type == "text":
            answer.text += block.text
        elif block.type == "thinking":
            answer.reasoning += block.thinking
            answer.signature += block.signature
        elif block.type == "tool_use":
            answer.calls.append(Call(block.id, block.name, json.dumps(block.input)))
    return answer


def _usage(usage: dict[str, Any]) -> Usage:
    cached = usage.get("cache_read_input_tokens") or 0
    wrote = usage.get("cache_creation_input_tokens") or 0
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return Usage(usage["input_tokens"] + cached + wrote, usage["output_tokens"], cached, thought)


class Events:
    """Puts a stream together."""

    def __init__(self) -> None:
        self.answer = Answer(native=[])
        self._usage: dict[str, Any] = {}
        self._blocks: list[dict[str, Any]] = []
        self._json: dict[int, str] = {}
        self._open: int | None = None
        self._begun = False
        self._stopped = False

    def take(self, event: Any) -> None:
        event = event.to_dict(mode="json", warnings=False)
        kind = event["type"]
        assert not self._stopped, f"after the end came {event}"
        assert self._begun == (kind != "message_start"), f"{kind} is out of order"
        getattr(self, f"_{kind}")(event)

    def _message_start(self, event: dict[str, Any]) -> None:
        self._begun = True
        message = event["message"]
        assert message["id"] and message["role"] == "assistant" and message["content"] == []
        self._usage = message["usage"]

    def _content_block_start(self, event: dict[str, Any]) -> None:
        assert self._open is None and self.answer.finish is None, "blocks come one by one"
        assert event["index"] == len(self._blocks), "blocks are numbered as they begin"
        self._open = event["index"]
        self._blocks.append(dict(event["content_block"]))

    def _content_block_delta(self, event: dict[str, Any]) -> None:
        assert event["index"] == self._open, "a delta belongs to the open block"
        block, delta = self._blocks[event["index"]], event["delta"]
        match (block["type"], delta["type"]):
            case ("text", "text_delta"):
                block["text"] += delta["text"]
                self.answer.text += delta["text"]
            case ("thinking", "thinking_delta"):
                block["thinking"] += delta["thinking"]
            case ("thinking", "signature_delta"):
                block["signature"] = block.get("signature", "") + delta["signature"]
            case ("tool_use", "input_json_delta"):
                so_far = self._json.get(event["index"], "")
                self._json[event["index"]] = so_far + delta["partial_json"]
            case pair:
                raise AssertionError(f"{pair} do not belong together")

    def _content_block_stop(self, event: dict[str, Any]) -> None:
        assert event["index"] == self._open
        self._open = None

    def _message_delta(self, event: dict[str, Any]) -> None:
        assert self._open is None, "the last block is closed before the message ends"
        assert self.answer.finish is None, "a message ends once"
        self.answer.finish = FINISH[event["delta"]["stop_reason"]]
        self.answer.stop_sequence = event["delta"].get("stop_sequence")
        # These counts are totals; what they leave out stays as it was.
        self._usage |= {key: value for key, value in event["usage"].items() if value is not None}

    def _message_stop(self, _event: dict[str, Any]) -> None:
        assert self.answer.finish is not None, "the reason comes before the end"
        self._stopped = True

    def end(self) -> Answer:
        """The answer, once the stream is over."""
        assert self._stopped, "a stream ends with message_stop"
        answer = self.answer
        answer.usage = _usage(self._usage)
        for index, block in enumerate(self._blocks):
            if block["type"] == "thinking":
                answer.reasoning += block["thinking"]
                answer.signature += block.get("signature", "")
            if block["type"] == "tool_use":
                text = self._json.get(index, "")
                answer.calls.append(Call(block["id"], block["name"], text))
                try:
                    block["input"] = json.loads(text or "{}")
                except ValueError:
                    # A call that was cut off; nobody sends it back.
                    block["input"] = {}
        answer.native = self._blocks
        return answer
