"""No naked scores: `Score` carries chance, control, interval, n and n_failed; `Check` and `Cost` stand beside it.

A score that does not beat its control says so (`Score.verdict`). A control that was not run is named with the reason
(`skipped`), never silently left out.
"""

from typing import Literal

from pydantic import Field

from exegete.core.value import Value

BEATS_CHANCE = 95.0  # percentile that a single value needs


class Score(Value):
    """One number that judges something, with what is needed to read it.

    `chance` is what a guess scores, `control` what the control of this kind of score gets (`control_name` says which),
    `interval` the 95 % interval of `value`, `percentile` the share (0-100) of chance draws that this value beats.
    `better` says which direction is good. `crowd` is set for a single value as good as the best chance draw: the share
    (0-100) of draws that are as good too. Where they are many, nothing can stand out, and the score says so.
    `n` is how many items (texts, questions, units) were scored, of which `value` is the mean; `n_failed` how many could not be,
    which are not among the `n`. Where none could be, `n` is 0 and `value` NaN.
    `over_chance` and `over_control` are 95 % intervals of the value less chance (control), item by item, where every item has its
    own: what is easy in one text is easy for a guess there too, and the spread between texts is not that of the difference.
    """

    name: str
    value: float
    better: Literal["higher", "lower"] = "higher"
    chance: float | None = None
    control: float | None = None
    control_name: str = ""
    interval: tuple[float, float] | None = None
    over_chance: tuple[float, float] | None = None
    over_control: tuple[float, float] | None = None
    percentile: float | None = Field(default=None, ge=0, le=100)
    crowd: float | None = Field(default=None, ge=0, le=100)
    n: int = 1
    n_failed: int = 0
    skipped: str = ""

    @property
    def undecided(self) -> bool:
        """Whether chance cannot be told apart: as good as the best draw, and still short of the percentile needed."""
        single = self.interval is None and self.percentile is not None and self.crowd is not None
        return single and (self.percentile or 0.0) < BEATS_CHANCE

    @property
    def too_few(self) -> bool:
        """Whether there is nothing to decide by: one item, and neither an interval nor its percentile among chance draws."""
        known = (self.interval, self.percentile, self.over_chance, self.over_control)
        return self.n < 2 and all(k is None for k in known)

    @property
    def beats_chance(self) -> bool | None:
        """Whether the value lies on the good side of chance; None without chance, or where it cannot be told.

        Over a set with its whole interval (of the differences, where they are known); a single value that knows its percentile
        must beat 95 % of the chance draws (half of all guesses are better than the mean guess). Of one item without either
        (`too_few`) it says where that item lies, from which nothing follows: `standing` and `verdict` give no verdict there.
        """
        if self.chance is None or self.undecided:
            return None
        if self.interval is None and self.percentile is not None:
            return self.percentile >= BEATS_CHANCE
        return self._beyond(self.chance, self.over_chance)

    @property
    def beats_control(self) -> bool | None:
        """The same against the control; None when the control was skipped."""
        return None if self.control is None else self._beyond(self.control, self.over_control)

    def _beyond(self, bar: float, lead: tuple[float, float] | None) -> bool:
        low, high = self.interval or (self.value, self.value)
        if lead is not None:
            low, high, bar = *lead, 0.0
        return low > bar if self.better == "higher" else high < bar

    @property
    def standing(self) -> Literal["good", "bad", "unknown"]:
        """`bad` when it fails to beat something, `good` when it beats all it was held against, else `unknown`."""
        held = [b for b in (self.beats_chance, self.beats_control) if b is not None]
        if not held or self.too_few or (self.undecided and all(held)):
            return "unknown"
        return "good" if all(held) else "bad"

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of what it does not beat; none where that cannot be told."""
        held = (("chance", self.beats_chance), (self._control, self.beats_control))
        return () if self.too_few else tuple(name for name, won in held if won is False)

    @property
    def verdict(self) -> str:
        """In words: does it beat chance and control? Where differences item by item decide, their interval is said."""
        single = self.interval is None and self.percentile is not None
        over = None if single else self.over_chance
        held = (
            ("chance", self.beats_chance, self._lead(self.chance, over, self.beats_chance)),
            (self._control, self.beats_control, self._lead(self.control, self.over_control, self.beats_control)),
        )  # fmt: skip
        short = f" (percentile {self.percentile:.0f}, {BEATS_CHANCE:.0f} needed)" if single else ""
        words = [
            f"{'beats' if won else 'does NOT beat'} {name}{lead}{short if name == 'chance' and not won else ''}"
            for name, won, lead in held
            if won is not None
        ]
        if self.too_few and words:
            bars = " or ".join(name for name, won, _ in held if won is not None)
            words = [f"too few to tell (n {self.n}): one item does not show whether it beats {bars}"]
        if self.undecided:
            words.insert(
                0,
                f"as good as the best random order, but so are {self.crowd:.0f} % of them: too short to tell",
            )
        if self.skipped:
            words.append(f"control skipped: {self.skipped}")
        return "; ".join(words) or "no control"

    @property
    def _control(self) -> str:
        return self.control_name or "its control"

    def _lead(self, bar: float | None, over: tuple[float, float] | None, won: bool | None) -> str:
        """The interval that decides, as a lead (more is better); its middle where value and bar are of the same items."""
        if bar is None or over is None:
            return ""
        sign = 1 if self.better == "higher" else -1
        (low, high), lead = sorted(sign * x + 0.0 for x in over), sign * (self.value - bar)
        by = f"{lead:.2g}, " if low <= lead <= high else ""
        return f" ({'by' if won else 'lead'} {by}{low:.2g} to {high:.2g}, item by item)"


class Check(Value):
    """A self-check: something that must hold if the explanation is sound. `words` say what it means when it fails."""

    name: str
    value: float
    tolerance: float
    passed: bool
    words: str = ""

    @classmethod
    def at_most(cls, name: str, value: float, tolerance: float, words: str = "") -> "Check":
        """A check that passes when `value <= tolerance` (NaN fails)."""
        return cls(name=name, value=value, tolerance=tolerance, passed=bool(value <= tolerance), words=words)


class Cost(Value):
    """What was spent: model passes (rows through the model), tokens in them, asked and distinct inputs, seconds."""

    forwards: int = 0
    backwards: int = 0
    tokens: int = 0
    asked: int = 0
    distinct: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{f: getattr(self, f) + getattr(other, f) for f in Cost.model_fields})

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(**{f: getattr(self, f) - getattr(other, f) for f in Cost.model_fields})

    def __str__(self) -> str:
        words = [_count(self.forwards, "forward")]
        if self.backwards:
            words.append(_count(self.backwards, "backward"))
        # a run's rows hold no times, so that they are the same bytes anywhere
        timed = f", {self.seconds:.2g} s" if self.seconds else ""
        return f"{' + '.join(words)}, {self.tokens:,} tokens{timed}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


class Trust(Value):
    """How far an explanation can be trusted: scores with their controls, self-checks, what the judging cost, its seed."""

    scores: tuple[Score, ...] = ()
    checks: tuple[Check, ...] = ()
    cost: Cost = Cost()
    seed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The checks that did not pass; a reader must see them before anything else."""
        return tuple(c for c in self.checks if not c.passed)
