"""Tools: offered, called, answered, and the turn that sends the results back.

The replay server refuses a history that its provider would refuse, so a round
trip that succeeds was well formed.
"""

from __future__ import annotations

import base64
import re

import pytest

from neutral import PNG, POSITION, TIME, WEATHER, Answer, Question, Result
from speaker import Speaker
from transcripts import expected
from upstream import Upstream

TOOLS = [WEATHER, TIME, POSITION]
SCENARIOS = ["tool-single", "tools-parallel", "tool-empty", "tool-text", "tool-thinking"]


def same_calls(answer: Answer, said: Answer) -> None:
    """The same tools with the same arguments, under identifiers of their own."""
    told = [(call.name, call.values) for call in answer.calls]
    assert told == [(call.name, call.values) for call in said.calls]
    ids = [call.id for call in answer.calls]
    assert len(set(ids)) == len(ids)
    # What all dialects take: Anthropic's alphabet and OpenAI's length.
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", one) for one in ids), ids


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_calls_come_as_the_model_made_them(speaker: Speaker, scenario: str, stream: bool) -> None:
    answer = speaker.ask(Question(scenario, tools=TOOLS), stream)
    said = expected(speaker.route.provider, scenario)
    same_calls(answer, said)
    assert answer.text == said.text
    assert answer.finish == "tool_calls"


@pytest.mark.parametrize("scenario", ["tools-bytes", "tool-random"])
def test_calls_survive_any_split(speaker: Speaker, scenario: str, stream: bool) -> None:
    answer = speaker.ask(Question(scenario, tools=TOOLS), stream)
    whole = {"tools-bytes": "tools-parallel", "tool-random": "tool-single"}[scenario]
    same_calls(answer, expected(speaker.route.provider, whole))


def test_a_tool_need_not_be_called(speaker: Speaker, stream: bool) -> None:
    answer = speaker.ask(Question("tool-none", tools=TOOLS), stream)
    assert answer.text == expected(speaker.route.provider, "tool-none").text
    assert answer.calls == []
    assert answer.finish == "stop"


@pytest.mark.provider("openai")
def test_calls_whose_arguments_interleave_are_told_apart(speaker: Speaker, stream: bool) -> None:
    """ruby_llm#710"""
    answer = speaker.ask(Question("tools-interleaved", tools=TOOLS), stream)
    same_calls(answer, expected("openai", "tools-interleaved"))


@pytest.mark.translated
@pytest.mark.provider("openai")
def test_a_name_that_is_repeated_is_said_once(speaker: Speaker, stream: bool) -> None:
    """bifrost#3443"""
    answer = speaker.ask(Question("tools-repeated", tools=TOOLS), stream)
    same_calls(answer, expected("openai", "tools-repeated"))


@pytest.mark.translated
@pytest.mark.provider("openai")
def test_a_stop_with_calls_is_a_call(speaker: Speaker, stream: bool) -> None:
    """vercel/ai#12218"""
    answer = speaker.ask(Question("tools-stop", tools=TOOLS), stream)
    assert answer.finish == "tool_calls"


def test_a_call_that_was_cut_off_keeps_its_reason(speaker: Speaker) -> None:
    """smg#2433"""
    answer = speaker.ask(Question("length-tool", tools=TOOLS), stream=True)
    assert answer.finish == "length"
    assert [call.name for call in answer.calls] == ["get_weather"]
    assert answer.calls[0].arguments == '{"city":"Zür'


def test_tools_arrive_as_they_were(speaker: Speaker, upstream: Upstream, marker: str) -> None:
    speaker.ask(Question("tool-none", marker, tools=TOOLS), stream=False)
    asked = upstream.request(marker)
    assert [tool.name for tool in asked.tools] == [tool.name for tool in TOOLS]
    assert [tool.schema for tool in asked.tools] == [tool.schema for tool in TOOLS]
    # A description that was not given is absent or empty, never null.
    assert [tool.description or None for tool in asked.tools] == [
        tool.description for tool in TOOLS
    ]


@pytest.mark.parametrize("choice", ["auto", "required", "none", "get_time"])
def test_a_choice_of_tools_arrives(
    speaker: Speaker, upstream: Upstream, marker: str, choice: str
) -> None:
    speaker.ask(Question("tool-none", marker, tools=TOOLS, choice=choice), stream=False)
    asked = upstream.request(marker)
    # What is not said is "auto" for all three.
    assert (asked.choice or "auto") == choice


@pytest.mark.parametrize("parallel", [True, False])
def test_whether_calls_may_be_parallel_arrives(
    speaker: Speaker, upstream: Upstream, marker: str, parallel: bool
) -> None:
    speaker.ask(Question("tool-none", marker, tools=TOOLS, parallel=parallel), stream=False)
    # Cerebras takes no parallel calls from the gateway, whoever asks.
    never = speaker.route.gateway and speaker.route.provider == "cerebras"
    assert upstream.request(marker).parallel == (parallel and not never)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_results_go_back_for_the_calls_that_were_made(
    speaker: Speaker, upstream: Upstream, marker: str, scenario: str, stream: bool
) -> None:
    answer = speaker.ask(Question(scenario, tools=TOOLS), stream)
    # In another order than the calls, which is allowed.
    results = [Result(call, f"result of {call.name}") for call in reversed(answer.calls)]
    turns = speaker.turns(answer, results)
    last = speaker.ask(Question("tool-result", marker, tools=TOOLS, history=turns), stream)
    provider = speaker.route.provider
    assert last.text == expected(provider, "tool-result").text
    asked = upstream.request(marker)
    made = [call.id for call in expected(provider, scenario).calls]
    assert asked.call_ids == made, "the provider gets its own identifiers back"
    assert all(asked.text.count(f"result of {call.name}") == 1 for call in answer.calls)


def test_a_second_round_keeps_the_first(speaker: Speaker, upstream: Upstream, marker: str) -> None:
    history = []
    for scenario in ("tools-parallel", "tool-single"):
        question = Question(scenario, marker, tools=TOOLS, history=history)
        answer = speaker.ask(question, stream=False)
        history = history + speaker.turns(answer, [Result(c, "done") for c in answer.calls])
    speaker.ask(Question("tool-result", marker, tools=TOOLS, history=history), stream=False)
    assert len(upstream.requests(marker)[-1].call_ids) == 3


@pytest.mark.sdk("anthropic")
def test_a_result_may_say_that_the_call_failed(
    speaker: Speaker, upstream: Upstream, marker: str
) -> None:
    answer = speaker.ask(Question("tool-single", tools=TOOLS), stream=False)
    turns = speaker.turns(answer, [Result(answer.calls[0], "no such city", failed=True)])
    speaker.ask(Question("tool-result", marker, tools=TOOLS, history=turns), stream=False)
    assert "no such city" in upstream.request(marker).text


@pytest.mark.sdk("anthropic")
def test_a_result_may_be_an_image(speaker: Speaker, upstream: Upstream, marker: str) -> None:
    """Chat completions take no image from a tool, so it must come otherwise."""
    answer = speaker.ask(Question("tool-single", tools=TOOLS), stream=False)
    turns = speaker.turns(answer, [Result(answer.calls[0], "a map", image=PNG)])
    speaker.ask(Question("tool-result", marker, tools=TOOLS, history=turns), stream=False)
    asked = upstream.request(marker)
    assert asked.images == [base64.b64encode(PNG).decode()]
    assert "a map" in asked.text


@pytest.mark.sdk("openai", "cerebras")
def test_a_tool_without_a_description_is_taken(
    speaker: Speaker, upstream: Upstream, marker: str
) -> None:
    """experiential#658: some clients send null, which not all providers take."""
    if speaker.route.provider == "openai" and speaker.dialect == "openai.chat":
        pytest.skip("forwarded as it came, and refused as OpenAI does")
    function = {"name": "get_position", "description": None, "parameters": POSITION.schema}
    asked = speaker.request(Question("tool-none", marker))
    asked["tools"] = [{"type": "function", "function": function}]
    speaker.client.chat.completions.create(**asked)
    assert upstream.request(marker).tools[0].name == "get_position"
