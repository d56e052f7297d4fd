"""What the transcripts say, read from disk: what every test compares with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neutral import Answer, Call, Usage

FOLDER = Path(__file__).resolve().parents[2] / "transcripts"

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def scenario_names(provider: str, start: str = "") -> list[str]:
    """The scenarios of a provider whose names begin so."""
    folders = sorted((FOLDER / provider).iterdir())
    return [folder.name for folder in folders if folder.name.startswith(start)]


def content(provider: str, scenario: str, file: str) -> bytes:
    """A file of a scenario, or of the one whose files it uses."""
    folder = FOLDER / provider / scenario
    if (folder / file).exists():
        return (folder / file).read_bytes()
    settings = json.loads((folder / "scenario.json").read_text())
    return (FOLDER / provider / settings["transcript"] / file).read_bytes()


def expected(provider: str, scenario: str) -> Answer:
    """The whole answer of a scenario."""
    body = json.loads(content(provider, scenario, "whole.json"))
    return _message(body) if provider == "anthropic" else _completion(body)


def error_message(provider: str, scenario: str) -> str:
    """The message of a scenario whose status is an error."""
    body = json.loads(content(provider, scenario, "whole.json"))
    return body["message"] if provider == "cerebras" else body["error"]["message"]


def _completion(body: dict[str, Any]) -> Answer:
    choice = body["choices"][0]
    message, usage = choice["message"], body["usage"]
    return Answer(
        text=message.get("content") or "",
        reasoning=message.get("reasoning") or "",
        calls=[
            Call(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or []
        ],
        finish=choice["finish_reason"],
        usage=Usage(
            usage["prompt_tokens"],
            usage["completion_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
            usage["completion_tokens_details"]["reasoning_tokens"],
        ),
    )


def _message(body: dict[str, Any]) -> Answer:
    answer = Answer(finish=FINISH[body["stop_reason"]], stop_sequence=body["stop_sequence"])
    for block in body["content"]:
        answer.text += block.get("text", "")
        answer.reasoning += block.get("thinking", "")
        answer.signature += block.get("signature", "")
        if block["type"] == "tool_use":
            answer.calls.append(Call(block["id"], block["name"], json.dumps(block["input"])))
    usage = body["usage"]
    cached = usage["cache_read_input_tokens"]
    answer.usage = Usage(
        usage["input_tokens"] + cached + usage["cache_creation_input_tokens"],
        usage["output_tokens"],
        cached,
        usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )
    return answer
