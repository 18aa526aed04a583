"""What rank-one edits came to, in scores with their controls and in words. No pass of the model."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from exegete.core.figure import Grid
from exegete.core.results.edits import FactCase, FactEdit
from exegete.core.trust import Score, Trust
from exegete.methods.mechanisms.rank_one_run import Measured, Outcome, Place
from exegete.ops.stats import bootstrap_mean

RANDOM = "a random rank-one change of the same size"
UNKEYED = "the same value written whatever the key"


def finding(
    outcomes: Sequence[Outcome], scored: Sequence[Outcome], n_failed: int, place: Place, together: bool,
    trials: tuple[Grid, ...], notes: tuple[str, ...],
) -> FactEdit:  # fmt: skip
    """The finding of all `outcomes`; its scores are those of the facts `scored`."""
    scores = _scores(scored, n_failed)
    deltas = tuple(o.delta for o in outcomes) if together or len(outcomes) == 1 else ()
    one = outcomes[0].fact
    claim = (
        f"{one.prompt!r} is completed by {one.new!r} rather than {one.answer!r}"
        if len(outcomes) == 1
        else f"{len(outcomes)} facts have other answers"
    )
    return FactEdit(
        title="Can the fact be edited, and what else changes?"
        if len(outcomes) == 1
        else "Can facts be edited, and what else changes?",
        lede=_lede(scored, scores, place),
        claim=claim,
        deltas=deltas,
        layer=place[0],
        token=place[1],
        together=together,
        cases=tuple(_case(o, together) for o in outcomes),
        shown=trials,
        trust=Trust(scores=tuple(scores.values()), notes=notes),
    )


def trial_grid(worth: np.ndarray, tokens: Sequence[str], layers: Sequence[int], chosen: Place) -> Grid:
    """What trial edits at each [token, layer] were worth."""
    return Grid(
        title="Where does an edit do best?",
        caption="Trial edits: probability of the new answer plus share of neighbours kept, less the loss on other texts. "
        "The worse half falls out after each round; the marked place was left, and taken.",
        values=worth,
        rows=tuple(f"{t} token" if t == "last" else "subject's last token" for t in tokens),
        columns=tuple(f"layer {i}" for i in layers),
        row_axis="token",
        column_axis="layer",
        unit="worth",
        signed=False,
        marked=((list(tokens).index(chosen[1]), list(layers).index(chosen[0])),),
    )


def _scores(scored: Sequence[Outcome], n_failed: int) -> dict[str, Score]:
    found = {
        "efficacy": _score(
            "facts answered with the new answer",
            [(_first(o.after), _first(o.random)) for o in scored],
            RANDOM,
            n_failed,
        )
    }
    worded = [o for o in scored if o.fact.paraphrases]
    if worded:
        rows = [(float(o.after.heard.said[1:].mean()), float(o.random.heard.said[1:].mean())) for o in worded]
        found["paraphrases"] = _score("paraphrases answered with the new answer", rows, RANDOM, n_failed)
    near = [o for o in scored if o.before.heard.right.any()]
    if near:
        rows = [(_share(o, o.after), _share(o, o.unkeyed)) for o in near]
        found["neighbours"] = _score("neighbours that stand", rows, UNKEYED, n_failed)
    lost = [(o.after.loss - o.before.loss, o.random.loss - o.before.loss) for o in scored]
    found["loss"] = _score("loss on other texts, change in nats", lost, RANDOM, n_failed, "lower")
    return found


def _score(
    name: str,
    rows: list[tuple[float, float]],
    control: str,
    n_failed: int,
    better: Literal["higher", "lower"] = "higher",
) -> Score:
    values = np.array(rows)
    return Score(
        name=name, value=float(values[:, 0].mean()), better=better, control=float(values[:, 1].mean()),
        control_name=control, interval=bootstrap_mean(values[:, 0]), n=len(values), n_failed=n_failed,
    )  # fmt: skip


def _first(m: Measured) -> float:
    return float(m.heard.said[0])


def _share(o: Outcome, then: Measured) -> float:
    right, kept = o.kept(then)
    return kept / right


def _case(o: Outcome, together: bool) -> FactCase:
    f = o.fact
    return FactCase(
        name=f.id or f.prompt, prompt=f.prompt, subject=f.subject, answer=f.answer, new=f.new,
        before=o.before.heard.probability, after=o.after.heard.probability,
        said=tuple(bool(s) for s in o.after.heard.said), kept=o.kept(o.after), n_neighbours=len(f.neighbours),
        loss=(o.before.loss, o.after.loss), entropy=(o.before.entropy, o.after.entropy),
        deltas=() if together else (o.delta,),
    )  # fmt: skip


def _lede(scored: Sequence[Outcome], scores: dict[str, Score], place: Place) -> str:
    where = f"A rank-one change of layer {place[0]}, keyed to the {'subject' if place[1] == 'subject' else 'last token'},"
    done = scores["efficacy"]
    if len(scored) == 1:
        f, m = scored[0].fact, scored[0].after
        p = f"probability {scored[0].before.heard.probability[0, 1]:.2g} before, {m.heard.probability[0, 1]:.2g} after"
        words = [
            f"{where} {'makes' if _first(m) else 'does not make'} the model say {f.new!r} after {f.prompt!r} ({p})"
        ]
    else:
        words = [f"{where} makes the model say the new answer to {done.value:.0%} of {done.n} facts"]
    if "paraphrases" in scores:
        words.append(
            f"to {scores['paraphrases'].value:.0%} of {'its' if len(scored) == 1 else 'their'} paraphrases"
        )
    if "neighbours" in scores:
        words.append(f"and {scores['neighbours'].value:.0%} of other facts stand")
    tail = "" if done.beats_control else " It does no better than a random change of the same size."
    return ", ".join(words) + f". On other texts it costs {scores['loss'].value:+.2g} nats a token.{tail}"
