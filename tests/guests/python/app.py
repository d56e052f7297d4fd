"""A guest in Python: a request filter and an event filter.

The request filter denies a request that holds the configured word, and else
signs it with a header and a note. The event filter, which is in
`event_filter.py`, redacts the word in what comes back.

Configuration, both optional: `word`, and `stop`, a phrase that ends an answer.

componentize-py looks for one class here for each exported interface, named
after it, and for resources in a module named after theirs.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.configuration import ConfigError
from wit_world.exports.request_filter import Verdict, Verdict_Deny, Verdict_Proceed
from wit_world.imports.message import Request
from wit_world.imports.types import Denial, DenialKind, Problem

import event_filter
from words import words


class Configuration(exports.Configuration):
    def configure(self, config: str) -> None:
        values = json.loads(config)
        errors = []
        for key, value in values.items():
            if key not in ("word", "stop"):
                errors.append(ConfigError(f"/{key}", "unknown key"))
            elif not isinstance(value, str) or not value:
                errors.append(ConfigError(f"/{key}", "must be a string that is not empty"))
        if errors:
            raise Err(errors)
        words.set(values.get("word"), values.get("stop"))


class RequestFilter(exports.RequestFilter):
    def check(self, request: Request) -> Verdict:
        if words.word and any(words.word in text.content for text in request.texts()):
            return Verdict_Deny(
                Denial(
                    kind=DenialKind.FORBIDDEN,
                    reason="word.forbidden",
                    message="the request holds a forbidden word",
                    retry_after=None,
                )
            )
        try:
            request.set_header("x-guest", b"python")
            request.exchange().set_note("guest", "python")
        except Err as error:
            raise Err(Problem("edit.refused", error.value)) from error
        return Verdict_Proceed()


class EventFilter(exports.EventFilter):
    """Its functions are those of the resource; see `event_filter.py`."""
