"""The configured words, and what they do to a text that arrives in pieces."""

import re
from dataclasses import dataclass


class Words:
    """The configuration. One object, which every session shares."""

    def __init__(self) -> None:
        self.set(None, None)

    def set(self, word: str | None, stop: str | None) -> None:
        self.word = word
        self.stop = stop
        # The phrase to stop at comes first where both begin at one place.
        self.all = [text for text in (stop, word) if text]
        self.pattern = re.compile("|".join(map(re.escape, self.all)) or r"(?!)")

    def undecided(self, text: str, start: int) -> int:
        """Where the end of `text` that may be the beginning of a word begins."""
        longest = max(map(len, self.all), default=0)
        for at in range(max(start, len(text) - longest + 1), len(text)):
            tail = text[at:]
            if any(len(word) > len(tail) and word.startswith(tail) for word in self.all):
                return at
        return len(text)


words = Words()


@dataclass
class Passed:
    text: str
    altered: bool = False
    stopped: bool = False


class Window:
    """The end of one part's text, held back while it may become a word."""

    def __init__(self) -> None:
        self.held = ""

    def push(self, text: str) -> Passed:
        self.held += text
        return self._scan(last=False)

    def release(self) -> Passed:
        return self._scan(last=True)

    def _scan(self, last: bool) -> Passed:
        passed, at = Passed(""), 0
        while True:
            end = len(self.held) if last else words.undecided(self.held, at)
            found = words.pattern.search(self.held, at)
            if not found or found.start() >= end:
                break
            passed.text += self.held[at : found.start()]
            if found.group() == words.stop:
                self.held = ""
                passed.stopped = True
                return passed
            passed.text += "[redacted]"
            passed.altered = True
            at = found.end()
        passed.text += self.held[at:end]
        self.held = self.held[end:]
        return passed
