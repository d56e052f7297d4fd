"""The event filter: one session for each answer.

Text is held back only while it may become a word, and passed on at the latest
when its choice finishes, the provider fails or the answer is over.
"""

from wit_world.exports import event_filter
from wit_world.exports.event_filter import Step
from wit_world.imports.message import Exchange
from wit_world.imports.model import (
    Fragment,
    ModelEvent,
    ModelEvent_Error,
    ModelEvent_Finish,
    ModelEvent_Text,
)
from wit_world.imports.types import Denial, DenialKind

from words import Passed, Window


class Session(event_filter.Session):
    def __init__(self, exchange: Exchange) -> None:
        self.windows: dict[tuple[int, int], Window] = {}
        self.emit: list[ModelEvent] = []
        self.stopped = False

    def push(self, events: list[ModelEvent]) -> Step:
        for event in events:
            if self.stopped:
                break
            self._take(event)
        return self._step()

    def finish(self) -> Step:
        self._release(lambda choice: True)
        return self._step()

    def _take(self, event: ModelEvent) -> None:
        match event:
            case ModelEvent_Text(fragment):
                self._take_text(event, fragment)
                return
            case ModelEvent_Finish(finish):
                self._release(lambda choice: choice == finish.choice)
            case ModelEvent_Error():
                self._release(lambda choice: True)
        if not self.stopped:
            self.emit.append(event)

    def _take_text(self, event: ModelEvent, fragment: Fragment) -> None:
        key = (fragment.choice, fragment.part)
        window = self.windows.setdefault(key, Window())
        held = window.held
        passed = window.push(fragment.text)
        if held or window.held or passed.altered or passed.stopped:
            self._pass_on(key, passed)
        else:
            # The host sends the bytes that an unchanged event came in.
            self.emit.append(event)

    def _release(self, over) -> None:
        for key, window in self.windows.items():
            if over(key[0]) and not self.stopped:
                self._pass_on(key, window.release())

    def _pass_on(self, key: tuple[int, int], passed: Passed) -> None:
        if passed.text:
            self.emit.append(ModelEvent_Text(Fragment(*key, passed.text)))
        self.stopped = self.stopped or passed.stopped

    def _step(self) -> Step:
        emit, self.emit = self.emit, []
        return Step(emit, denial() if self.stopped else None)


def denial() -> Denial:
    return Denial(
        kind=DenialKind.FORBIDDEN,
        reason="guest.stopped",
        message="the answer holds a phrase that ends it",
        retry_after=None,
    )
