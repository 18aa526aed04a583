"""`compare`: the same inputs explained by several methods; which to trust, and how far they disagree.

1. every method explains every text (`cases`), sharing passes where methods ask the same inputs;
2. each explanation gets its trust line, all on one judging question, against the same random orders;
3. rank correlation and overlap of the strongest between every two methods, a mean over texts; where one of the two gives
   magnitudes only, both are compared by magnitude;
4. methods stand in order of their comprehensiveness, best first, failed ones last.

Agreement between methods is no proof of either: both can be wrong in the same way.
Cost: explanations and trust lines, less the inputs they share.
References: Wu & Ong 2021 (arXiv:2101.00196); Neely et al. 2021 (arXiv:2105.03287).
"""

from collections.abc import Callable, Sequence

import numpy as np

from exegete.core.errors import UnknownName
from exegete.core.method import Method
from exegete.core.result import Attribution, Comparison
from exegete.core.target import Target
from exegete.core.trust import Cost, Trust
from exegete.evaluate.cases import (
    Case,
    Plan,
    Progress,
    Texts,
    attempt,
    cases,
    plan,
    refuse_if_all_failed,
    texts_of,
    words,
    worst,
)
from exegete.evaluate.trust import LEVELS, LINE, judge, judge_set
from exegete.models.model import Model
from exegete.models.randomise import Randomiser
from exegete.ops.rank import Agreement, rank_correlation, top_overlap

Measure = Callable[[np.ndarray], np.ndarray]


def compare(
    model: Model,
    texts: Texts,
    methods: Sequence[str | Method],
    target: Target | str | int | None = None,
    *,
    unit: str = "word",
    prefix: bool = False,
    trust: str = "full",
    n_random: int = 100,
    correlation: Agreement = "spearman",
    top_k: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Explanations of one text or several by `methods` (ids or values), with trust lines and agreement.

    The attributions themselves are kept for a single text. `progress` advances by one for each method and text. Raises
    `UsageError` for unknown methods, and the first error met when nothing could be explained.
    """
    if trust not in LEVELS:
        raise UnknownName("trust level", trust, LEVELS)
    what, given = plan(model, methods, target, unit, prefix, seed), texts_of(texts)
    randomiser = Randomiser(seed)
    seen, lines = [], []
    for case in cases(what, given, progress, "comparing"):
        lines.append([_line(what, case, m, trust, n_random, randomiser) for m in range(len(what.methods))])
        seen.append(case.closed())
    refuse_if_all_failed(seen)
    trusts = [_over_texts(what, seen, [row[m] for row in lines], m, trust) for m in range(len(what.methods))]
    order = _ranking(seen, trusts)
    single = seen[0] if len(seen) == 1 else None
    return Comparison(
        text=next(a.text for a in single.attributions if a is not None) if single else "",
        n_texts=len(seen),
        methods=tuple(what.names[m] for m in order),
        attributions=_kept(single, trusts, order) if single else (),
        rank_correlation=_agreement(seen, lambda rows: rank_correlation(rows, correlation), order),
        top_overlap=_agreement(seen, lambda rows: top_overlap(rows, top_k), order),
        top_k=top_k,
        trusts=tuple(trusts[m] for m in order),
        cost=sum((c.cost for c in seen), Cost()),
        notes=(*(f"Failed: {f}" for c in seen for f in c.failures), f"Rank correlation: {correlation}."),
        provenance=what.provenance("compare"),
    )


def _line(what: Plan, case: Case, m: int, level: str, n_random: int, randomiser: Randomiser) -> Trust | None:
    """The trust line of one explanation; None where there is no explanation; a failure to judge is in the notes."""
    a, question = case.attributions[m], case.question
    if a is None or question is None:
        return None
    found, error = attempt(
        lambda: judge(
            question,
            a,
            what.methods[m],
            level,
            n_random,
            what.seed,
            randomiser=randomiser,
            judged=case.judged,
        )
    )
    return found if found is not None else Trust(notes=(f"Not judged: {words(error)}",))


def _over_texts(what: Plan, seen: Sequence[Case], lines: Sequence[Trust | None], m: int, level: str) -> Trust:
    """The trust of one method: its line for a single text, means over several."""
    known = [t for t in lines if t is not None]
    if len(lines) == 1 and known:
        return known[0]
    notes = dict.fromkeys(n for t in known for n in t.notes if n.startswith("Not judged"))
    return Trust(
        scores=() if level == "none" else judge_set(lines, what.seed, LINE),
        checks=worst([case.attributions[m] for case in seen]),
        cost=sum((t.cost for t in known), Cost()),
        notes=tuple(notes),
    )


def _ranking(seen: Sequence[Case], trusts: Sequence[Trust]) -> list[int]:
    """Methods by comprehensiveness, best first; without scores as they came; those that explained nothing last."""

    def place(m: int) -> tuple[bool, float]:
        value = trusts[m].scores[0].value if trusts[m].scores else 0.0
        return all(case.attributions[m] is None for case in seen), -value if np.isfinite(value) else np.inf

    return sorted(range(len(trusts)), key=place)


def _kept(case: Case, trusts: Sequence[Trust], order: Sequence[int]) -> tuple[Attribution, ...]:
    found = [(case.attributions[m], trusts[m]) for m in order]
    return tuple(a.model_copy(update={"trust": t}) for a, t in found if a is not None)


def _agreement(seen: Sequence[Case], measure: Measure, order: Sequence[int]) -> np.ndarray:
    """Mean over texts of a measure of agreement [M, M], in `order`; NaN where two methods never both gave an order."""
    found = np.stack([_of_text(case, measure) for case in seen])
    n = np.isfinite(found).sum(0)
    mean = np.divide(np.nansum(found, 0), n, out=np.full(n.shape, np.nan), where=n > 0)
    return mean[np.ix_(order, order)]


def _of_text(case: Case, measure: Measure) -> np.ndarray:
    """[M, M] of one text; by magnitude where either method knows no sign; NaN for methods that failed."""
    out = np.full((len(case.attributions),) * 2, np.nan)
    good = [(m, a) for m, a in enumerate(case.attributions) if a is not None and m in case.usable]
    if good:
        at = [m for m, _ in good]
        rows, signed = np.stack([a.total for _, a in good]), np.array([a.signed for _, a in good])
        out[np.ix_(at, at)] = np.where(np.outer(signed, signed), measure(rows), measure(np.abs(rows)))
    return out
