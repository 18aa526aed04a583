"""A chat that replays: answers written down beforehand, for tests, demonstrations and runs without a network.

The file is JSON lines, each `{"when": TEXT, "say": TEXT}` (answers a request whose last turn holds TEXT; the first line that
fits is taken) or `{"say": TEXT}` (the next unconditional answer, in order). `"finish": "length"` marks a cut answer.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from exegete.core.errors import InputError
from exegete.models.chat.base import Ask, Chat, ChatError, Reply


@dataclass(frozen=True)
class Line:
    """One written answer."""

    say: str
    when: str = ""
    finish: str = "stop"


class ScriptedChat(Chat):
    """Answers from a script. `asked` are the requests so far, for tests."""

    def __init__(self, lines: list[Line], name: str = "a script") -> None:
        super().__init__()
        self.lines, self.name = list(lines), name
        self.asked: list[Ask] = []
        self._next = 0

    @classmethod
    def read(cls, path: str | Path) -> "ScriptedChat":
        """The script in a file. Raises `InputError` naming the line that is wrong."""
        where = f"You gave the script {str(path)!r}."
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(where, f"It cannot be read ({type(e).__name__}).", "Check the path.") from None
        lines = []
        for n, row in enumerate(text.splitlines(), 1):
            if row.strip():
                lines.append(_line(row, n, where))
        return cls(lines, f"script:{path}")

    @property
    def identity(self) -> str:
        told = json.dumps([[x.when, x.say, x.finish] for x in self.lines])
        return f"script {hashlib.sha256(told.encode()).hexdigest()[:16]}"

    def _say(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        last = ask.messages[-1].content
        found = next((x for x in self.lines if x.when and x.when in last), None)
        if found is None:
            plain = [x for x in self.lines if not x.when]
            if self._next >= len(plain):
                raise ChatError(
                    f"You asked {self.name} for its answer {len(self.asked)}.",
                    f"It has {len(plain)} answers in turn, and none for {last[:60]!r}.",
                    'Add a line {"say": ...} to it.',
                )
            found = plain[self._next]
            self._next += 1
        return Reply(text=found.say, finish=found.finish)


def _line(row: str, n: int, where: str) -> Line:
    try:
        data = json.loads(row)
        return Line(str(data["say"]), str(data.get("when", "")), str(data.get("finish", "stop")))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        do = 'Write {"say": "...", "when": "..."}.'
        raise InputError(where, f"Line {n} is no object with the field 'say'.", do) from None
