"""Questions and answers in a form of no dialect.

A test asks a `Question` through a speaker (one for each SDK) and compares the
`Answer` with what the transcript says. Nothing here knows an SDK.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

CHAT = "openai.chat"
MESSAGES = "anthropic.messages"

# The dialect that each SDK speaks and each provider takes.
DIALECTS = {"openai": CHAT, "cerebras": CHAT, "anthropic": MESSAGES}


@dataclass(frozen=True)
class Tool:
    """A tool that the model may call; `schema` is a JSON schema."""

    name: str
    schema: dict[str, Any]
    description: str | None = None


@dataclass
class Call:
    """A call of a tool; `arguments` is the JSON text as it came."""

    id: str
    name: str
    arguments: str

    @property
    def values(self) -> Any:
        """The arguments; no text at all means that there are none."""
        return json.loads(self.arguments or "{}")


@dataclass
class Usage:
    """Counted tokens; `input` includes those from a cache."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


@dataclass
class Answer:
    """What a model said. `native` is what the SDK gave: the message."""

    text: str = ""
    reasoning: str = ""
    signature: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    native: Any = None


@dataclass
class Question:
    """What a test asks. `history` is in the SDK's own form and goes between
    the prompt and nothing else: it holds the turns that follow it."""

    scenario: str
    prompt: str = "Hello?"
    system: str | None = None
    tools: list[Tool] = field(default_factory=list)
    # "auto", "none", "required", or the name of a tool.
    choice: str | None = None
    parallel: bool | None = None
    schema: dict[str, Any] | None = None
    # Bytes of a PNG.
    image: bytes | None = None
    thinking: bool = False
    limit: int | None = None
    stop: list[str] = field(default_factory=list)
    # Whether a stream shall count tokens; OpenAI's `include_usage`.
    include_usage: bool = False
    history: list[Any] = field(default_factory=list)


@dataclass
class Result:
    """The result of a tool call that is sent back."""

    call: Call
    text: str
    failed: bool = False
    image: bytes | None = None


WEATHER = Tool(
    "get_weather",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where?"},
            "unit": {"$ref": "#/$defs/unit"},
            "days": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    },
    "The weather of a city.",
)
TIME = Tool(
    "get_time",
    {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    "The time in a zone.",
)
POSITION = Tool("get_position", {"type": "object", "properties": {}})

BOOK = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "author": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "born": {"type": "integer"}},
            "required": ["name", "born"],
            "additionalProperties": False,
        },
        "rating": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "in_print": {"type": "boolean"},
    },
    "required": ["title", "author", "rating", "tags", "in_print"],
    "additionalProperties": False,
}

# One red pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de000000"
    "0c4944415478da63f8cfc0000003010100f70341430000000049454e44ae426082"
)
