"""Tests of capabilities: how often does the model fail what anyone would expect of it?

    MFT  fails where the gold label does not come out
    INV  fails where the class of any perturbed text is not that of the original
    DIR  fails where the probability of the expected class moves the wrong way, or does not move, on any perturbed text:
         up and down must move by at least `by`; not up and not down must move by no more than that

Failure rates by test, by capability and type, and by type. Lower is better. Chance: a guess, each answer drawn alike (MFT
1 - 1/classes, INV 1 - (1/classes) ** perturbed texts); a guess has no direction, so DIR has none. Control: MFT the same answers dealt
out anew among all MFT cases; INV and DIR originals held against the perturbed texts of other cases of the test. A model that always
says the same passes every INV: read it beside MFT. A case that could not be asked is a failure to ask, not a failed case.

Cost: one forward a text. Reference: Ribeiro et al. 2020 (arXiv:2005.04118). Shapes: one value a case.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.behaviour import BehaviourCase, BehaviourTest
from exegete.core.results.behaviour import BehaviourRates
from exegete.core.seed import generator
from exegete.core.trust import Score, Trust
from exegete.evaluate.answers import N_SHUFFLES, SHUFFLED, Answers, answers, class_of, gold_classes
from exegete.evaluate.cases import Progress
from exegete.models.model import Model
from exegete.ops.stats import share_interval

SAME = "A model that always says the same passes every INV test: read INV beside MFT."


@dataclass(frozen=True)
class _Row:
    """One test: whether each case fails [case] (NaN: not asked), what a guess and what shuffled answers fail."""

    test: BehaviourTest
    fails: np.ndarray
    chance: np.ndarray
    control: np.ndarray


def failure_rates(
    model: Model, tests: Sequence[BehaviourTest], seed: int = 0, progress: Progress | None = None
) -> BehaviourRates:
    """The finding about `tests`. Raises `ModelError` and `InputError` (see `answers`)."""
    golds = [c.label for t in tests for c in t.cases if t.kind == "MFT"]
    golds += [t.expect.label for t in tests if t.expect is not None and t.expect.label]
    gold_classes(model, golds, "tests of capabilities")
    said = answers(model, [x for t in tests for c in t.cases for x in c.texts], progress)
    spread = _spread(tests)
    minimum = [i for t, at in zip(tests, spread) if t.kind == "MFT" for (i,) in at if said.known[i]]
    rows = [_row(said, t, at, np.array(minimum, dtype=np.int64), seed) for t, at in zip(tests, spread)]
    scores = []
    for kind in dict.fromkeys(t.kind for t in tests):
        mine = [r for r in rows if r.test.kind == kind]
        scores.append(_score(f"{kind} failures", mine, seed))
        for capability in dict.fromkeys(r.test.capability for r in mine):
            scores.append(
                _score(
                    f"{kind} failures: {capability}",
                    [r for r in mine if r.test.capability == capability],
                    seed,
                )
            )
    each = [_score(r.test.name, [r], seed) for r in rows]
    return BehaviourRates(
        title="What does it fail that anyone would expect of it?",
        lede=_lede(scores),
        names=tuple(t.name for t in tests),
        capabilities=tuple(t.capability for t in tests),
        kinds=tuple(t.kind for t in tests),
        rate=np.array([s.value for s in each]),
        interval=np.array([s.interval or (np.nan, np.nan) for s in each]),
        chance=np.array([np.nan if s.chance is None else s.chance for s in each]),
        control=np.array([np.nan if s.control is None else s.control for s in each]),
        n=np.array([s.n for s in each]),
        n_failed=np.array([s.n_failed for s in each]),
        cases=tuple(_shown(said, rows, spread)),
        failures=(*said.failures, *_unknown(said.labels, golds)),
        trust=Trust(scores=tuple(scores), seed=seed),
        cost=said.cost,
        notes=(SAME,) if any(t.kind == "INV" for t in tests) else (),
    )


def _spread(tests: Sequence[BehaviourTest]) -> list[list[tuple[int, ...]]]:
    """Which texts each case of each test has, by their places in the list of all texts."""
    found, at = [], 0
    for t in tests:
        rows = []
        for c in t.cases:
            rows.append(tuple(range(at, at + len(c.texts))))
            at += len(c.texts)
        found.append(rows)
    return found


def _row(
    said: Answers, test: BehaviourTest, at: list[tuple[int, ...]], minimum: np.ndarray, seed: int
) -> _Row:
    c = len(said.labels)
    rng = generator(seed, "shuffled answers", test.name)
    known = np.array([bool(said.known[list(i)].all()) for i in at])
    if test.kind == "MFT":
        gold = np.array([class_of(said.labels, case.label) for case in test.cases])
        known &= gold >= 0
        turned = np.array([case.negated for case in test.cases])
        places = np.array([i for (i,) in at])
        fails = (said.classes[places] == gold) == turned
        chance = np.where(turned, 1 / c, 1 - 1 / c)
        # the share of all MFT answers that would fail this case: what dealing them out anew gives on average
        control = ((said.classes[minimum][None] == gold[:, None]) == turned[:, None]).mean(1)
        return _Row(test, _or_nan(fails, known), _or_nan(chance, known), _or_nan(control, known))
    if test.expect is not None and test.expect.label:
        known &= class_of(said.labels, test.expect.label) >= 0
    fails = np.array([_moves(said, test, i[0], i[1:]) for i in at])
    chance = np.array([1 - (1 / c) ** (len(i) - 1) if test.kind == "INV" else np.nan for i in at])
    own = np.flatnonzero(known)
    draws = np.full((N_SHUFFLES, len(at)), np.nan)
    for d in range(N_SHUFFLES if len(own) > 1 else 0):
        shift = rng.permutation(own)
        others = np.roll(shift, 1)  # every case meets another one
        for a, b in zip(shift, others):
            draws[d, a] = _moves(said, test, at[a][0], at[b][1:])
    control = draws.mean(0)
    return _Row(test, _or_nan(fails, known), _or_nan(chance, known), _or_nan(control, known))


def _unknown(labels: Sequence[str], golds: Sequence[str]) -> list[str]:
    """In words, which labels name no class of the model."""
    return [
        f"the label {x!r} is none of the model's classes"
        for x in sorted(set(golds))
        if class_of(labels, x) < 0
    ]


def _moves(said: Answers, test: BehaviourTest, original: int, others: Sequence[int]) -> bool:
    """Whether a case of INV or DIR fails."""
    if test.expect is None:
        return bool((said.classes[list(others)] != said.classes[original]).any())
    e, p = test.expect, said.probabilities
    k = class_of(said.labels, e.label) if e.label else int(said.classes[original])
    moved = p[list(others), k] - p[original, k]
    passed = {
        "up": moved >= e.by,
        "down": moved <= -e.by,
        "not up": moved <= e.by,
        "not down": moved >= -e.by,
    }
    return not bool(passed[e.change].all())


def _or_nan(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known, values.astype(np.float64), np.nan)


def _score(name: str, rows: Sequence[_Row], seed: int) -> Score:
    fails, chance, control = (
        np.concatenate([getattr(r, f) for r in rows]) for f in ("fails", "chance", "control")
    )
    good = np.isfinite(fails)
    if not good.any():
        return Score(
            name=name, value=float("nan"), better="lower", n=0, n_failed=len(fails),
            skipped="no case could be asked",
        )  # fmt: skip
    return Score(
        name=name, value=float(fails[good].mean()), better="lower", chance=_mean(chance), control=_mean(control),
        control_name=SHUFFLED, interval=share_interval(fails[good], seed), n=int(good.sum()), n_failed=int((~good).sum()),
        skipped="" if _mean(control) is not None else "a test of a single case has no other to be held against",
    )  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _shown(said: Answers, rows: Sequence[_Row], spread: Sequence[list[tuple[int, ...]]]) -> list[tuple[str, str, str]]:  # fmt: skip
    found = []
    for row, at in zip(rows, spread):
        for k in np.flatnonzero(row.fails == 1):
            case: BehaviourCase = row.test.cases[k]
            came = " → ".join(f"{said.named(i)} {np.max(said.probabilities[i]):.2f}" for i in at[k])
            found.append((row.test.name, " | ".join(str(t.text) for t in case.texts)[:300], came))
    return found


def _lede(scores: Sequence[Score]) -> str:
    whole = [s for s in scores if ":" not in s.name and s.n]
    if not whole:
        return "No case could be asked."
    words = "It fails " + ", ".join(f"{s.value:.0%} of {s.name.split()[0]} cases" for s in whole) + "."
    worst = max((s for s in scores if ":" in s.name and s.n), key=lambda s: s.value)
    words += (
        f" It fails most in {worst.name.split(': ', 1)[1]!r} ({worst.name.split()[0]}, {worst.value:.0%})."
    )
    weak = [s.name.split()[0] for s in whole if not (s.beats_chance is not False and s.beats_control)]
    return words + (f" {', '.join(weak)}: no fewer than a guess or shuffled answers fail." if weak else "")
