"""The truth board: does each method recover what is known because it was planted?

1. methods that explain texts: every one against every planted model (`attributions`), beside a row of random scores;
2. methods that find circuits: against compiled models (`circuit_board`), mean over models;
3. methods of the other families: against what is planted for them, where something is (`study_truths`);
4. every other method is listed with the kind of truth that it would need; one that fails is listed with its reason.

A planted model that does not rely on what was planted is left out, and said so. Cost: for each method that explains texts, twice
its passes a text and planted model; on two cores a few minutes for all methods.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exegete.core.errors import UsageError
from exegete.core.method import Method, method_of
from exegete.core.registry import METHODS
from exegete.core.results.truth import WORDS_ON_TOP, TruthBoard, TruthRow
from exegete.core.trust import Check, Score, Trust
from exegete.evaluate.cases import Progress, Quiet, attempt, words
from exegete.evaluate.truth.attributions import MEAN_RANK, NOISE, Ground
from exegete.evaluate.truth.board import circuit_board, usual_methods
from exegete.evaluate.truth.compiled import compiled_names
from exegete.evaluate.truth.planted import planted, planted_names
from exegete.evaluate.truth.study_truths import STUDY_TRUTHS
from exegete.evaluate.truth.wanted import wanted
from exegete.methods.contracts.attribution import AttributionMethod
from exegete.ops.stats import bounded_mean

CIRCUITS = "compiled circuits"


@dataclass
class _Found:
    """What has been gathered so far."""

    rows: list[TruthRow]
    truths: dict[str, str]
    unscored: list[tuple[str, str, str]]
    checks: list[Check]


def truth_board(
    methods: Sequence[str | Method] | None = None,
    truths: Sequence[str] | None = None,
    n_texts: int = 6,
    seed: int = 0,
    progress: Progress | None = None,
) -> TruthBoard:
    """`methods` (left out: every registered one) against `truths` (planted models, by name; left out: all that there are).

    `n_texts` are drawn from each planted model. Raises `UnknownName`, and `UsageError` for fewer than two texts.
    """
    if n_texts < 2:
        raise UsageError(
            f"You asked for a truth board over {n_texts} texts.",
            "One text has no interval.",
            "Take at least 2; 6 by default.",
        )
    chosen = [method_of(m) for m in (METHODS.ids() if methods is None else methods)]
    found, shown = _Found([], {}, [], []), Quiet() if progress is None else progress
    explaining = [m for m in chosen if isinstance(m, AttributionMethod)]
    studies = [m for m in chosen if not isinstance(m, AttributionMethod)]
    if explaining:
        _explaining(found, explaining, truths, n_texts, seed, shown)
    _circuits(found, studies, seed, shown)
    _studies(found, studies, seed, shown)
    return _told(found, len(chosen), n_texts, seed)


def _explaining(
    found: _Found, methods: Sequence[AttributionMethod], truths: Sequence[str] | None, n: int, seed: int, shown: Progress
) -> None:  # fmt: skip
    """Rows of methods that explain texts, one planted model after the other."""
    failed: dict[str, list[tuple[str, str]]] = {m.id: [] for m in methods}
    for name in truths or planted_names():
        ground, error = attempt(lambda name=name: Ground.of(planted(name), n, seed))
        if ground is None:
            if truths is not None and error is not None:
                raise error
            found.unscored.append((f"planted model {name!r}", "truth", words(error)))
            continue
        found.truths[name] = f"{ground.what.says}; {_proof(ground)}"
        found.checks += _checks(name, ground)
        found.rows += ground.noise()
        with _showing(shown, len(methods) * len(ground.proof.texts), f"explaining {name} texts") as step:
            for method in methods:
                rows, why = ground.judge(method, step)
                found.rows += rows
                if why:
                    failed[method.id].append((name, why))
    by_id = {m.id: m for m in methods}
    found.unscored += [(i, by_id[i].family, _reasons(told)) for i, told in failed.items() if told]


def _circuits(found: _Found, studies: Sequence[Method], seed: int, shown: Progress) -> None:
    """Rows of the methods of circuit discovery: the mean over the compiled models."""
    ids = {m.id for m in studies}
    chosen = {label: m for label, m in usual_methods().items() if m.id in ids}
    if not chosen:
        return
    names = compiled_names()
    found.truths[CIRCUITS] = (
        f"the edges of {len(names)} transformers whose weights are set by hand ({', '.join(names)})"
    )
    with _showing(shown, len(names), "finding known circuits") as step:
        boards: dict[str, list[tuple[str, Score]]] = {label: [] for label in chosen}
        lost: dict[str, list[tuple[str, str]]] = {label: [] for label in chosen}
        for name in names:
            for label, method in chosen.items():
                board, error = attempt(
                    lambda n=name, k=label, m=method: circuit_board({k: m}, (n,), seed=seed)
                )
                if board is None:
                    lost[label].append((name, words(error)))
                else:
                    boards[label].append((name, board.trust.scores[0]))
            step()
    for label, method in chosen.items():
        row = method.id if label.lower().replace(" ", "_") == method.id else f"{method.id} ({label})"
        if lost[label]:
            found.unscored.append((row, method.family, _reasons(lost[label])))
        if boards[label]:
            found.rows.append(_circuit_row(row, method, boards[label], len(lost[label])))


def _circuit_row(row: str, method: Method, told: Sequence[tuple[str, Score]], failed: int) -> TruthRow:
    """The mean over compiled models, and what so few of them leave open.

    As for a single model, random orders decide: the bar is the mean of the models' bars, which a mean of guesses hardly reaches.
    """
    values = np.array([s.value for _, s in told])
    mean, bar = float(values.mean()), float(np.mean([s.control for _, s in told if s.control is not None]))
    over = (mean - bar, mean - (1 - bar))
    score = Score(
        name="AUROC of gold edges", value=mean, chance=0.5, control=bar, control_name=told[0][1].control_name,
        interval=bounded_mean(values), over_chance=over, over_control=over, n=len(values), n_failed=failed,
    )  # fmt: skip
    by_part = tuple((name, s.value) for name, s in told)
    return TruthRow(method=row, family=method.family, truth=CIRCUITS, score=score, by_part=by_part)


def _studies(found: _Found, studies: Sequence[Method], seed: int, shown: Progress) -> None:
    """Rows of other studies for which something is planted; what is wanted for the rest."""
    circuits = {m.id for m in usual_methods().values()}
    with _showing(
        shown, sum(m.id in STUDY_TRUTHS for m in studies), "asking studies about what is planted"
    ) as step:
        for method in studies:
            if method.id in circuits:
                continue
            if method.id not in STUDY_TRUTHS:
                found.unscored.append((method.id, method.family, wanted(method)))
                continue
            truth = STUDY_TRUTHS[method.id]
            rows, error = attempt(lambda truth=truth: truth.ask(seed))
            step()
            if rows is None:
                found.unscored.append((method.id, method.family, words(error)))
                continue
            found.truths[truth.name] = truth.says
            found.rows += rows


class _showing:
    """A context that shows progress; its value is called a step."""

    def __init__(self, progress: Progress, total: int, doing: str) -> None:
        self.progress, self.total, self.doing = progress, total, doing

    def __enter__(self) -> "_showing":
        self.progress.start(self.total, self.doing)
        return self

    def __call__(self) -> None:
        self.progress.advance()

    def __exit__(self, *_: object) -> None:
        self.progress.stop()


def _proof(ground: Ground) -> str:
    shares = ", ".join(f"{label} {share:.0%}" for label, share in ground.proof.relied.items())
    return f"relied upon in {shares} of the texts, each planted word worth {ground.proof.least:.1f} logits or more"


def _checks(name: str, ground: Ground) -> Iterator[Check]:
    if ground.what.rule is not None:
        told = "largest difference (logits) of what any word takes when it is masked from what the rule says"
        yield Check.at_most(f"{name}: the model is its rule", ground.proof.off, 0.25, told)


def _told(found: _Found, n_methods: int, n_texts: int, seed: int) -> TruthBoard:
    # Random scores are there to fail, and the second measure of the same orders would say everything twice: both in `rows`.
    scores = tuple(
        r.score.model_copy(update={"name": f"{r.method} on {r.truth}"})
        for r in found.rows
        if r.method != NOISE and r.score.name != MEAN_RANK
    )
    return TruthBoard(
        title="Which methods recover what is known to be true?",
        lede=_lede(found, n_methods),
        context=(("texts a planted model", str(n_texts)),),
        checks=tuple(found.checks),
        rows=tuple(found.rows),
        truths=tuple(found.truths.items()),
        unscored=tuple(found.unscored),
        trust=Trust(scores=scores, seed=seed),
    )


def _lede(found: _Found, n_methods: int) -> str:
    own = [r for r in found.rows if r.method != NOISE]
    scored = dict.fromkeys(r.method for r in own)
    told = f"{len(scored)} of {n_methods} methods can be scored by what is planted here."
    on_top = [r for r in own if r.score.name == WORDS_ON_TOP]
    if on_top:
        beaten = {r.method for r in on_top if r.score.beats_chance is False or r.score.beats_control is False}
        names = dict.fromkeys(r.method for r in on_top)
        perfect = [m for m in names if all(r.score.value == 1.0 for r in on_top if r.method == m)]
        beaten -= set(perfect)  # right in each of too few texts is no failure
        told += (
            f" Of {len(names)} that explain texts, {len(perfect)} put the planted words on top in every text"
            " that they can explain"
        )
        told += f", and {len(beaten)} {'fails' if len(beaten) == 1 else 'fail'} to beat random orders or the same on randomised weights on at least one truth"
        told += f" ({', '.join(sorted(beaten))})." if beaten else "."
    noise = [r for r in found.rows if r.method == NOISE and r.score.beats_chance]
    if noise:
        told += f" Random scores beat chance on {len(noise)} of their rows: these intervals are too narrow to be believed."
    return told


def _reasons(told: Sequence[tuple[str, str]]) -> str:
    """Why a method could not be scored, each reason once, with the truths of which it holds."""
    names: dict[str, list[str]] = {}
    for name, why in told:
        names.setdefault(why, []).append(name)
    return " ".join(f"{', '.join(held)}: {why}" for why, held in names.items())
