"""One profile: read a model and its randomised twin once, probe every layer over the seeds, and sum up.

Shared by the studies that show one task, or several on one picture. `Settings` are the fields they have in common.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from exegete.core.errors import InputError
from exegete.core.results.layer_profile import where
from exegete.core.seed import derive
from exegete.core.site import Site
from exegete.core.trust import Score
from exegete.methods.contracts.twins import TWIN
from exegete.methods.probing.layers import Data, Prober, Seeded, data_of, features, run_seed
from exegete.methods.probing.rows import Asked
from exegete.models.harvest import Table, layer_sites
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.profile import Profile, profile, total

_MOST_FEATURES = 20_000


@dataclass(frozen=True)
class Settings:
    """How probes are made: see the fields of `LayerProbe`."""

    probe: Literal["linear", "mlp"]
    site: str
    pool: str
    n_seeds: int
    hidden: int
    places: bool
    seed: int


@dataclass(frozen=True)
class Found:
    """A profile with its controls; `fields` are those of `LayerProfile`."""

    ask: Asked
    task: Profile
    fields: dict[str, Any]
    scores: tuple[Score, ...]
    notes: tuple[str, ...]


def profiled(lab: Lab, tables: Tables, ask: Asked, how: Settings) -> Found:
    """The profile of one task. Raises `InputError` where it cannot be split, or vectors are too wide for a probe."""
    first = how.site == "resid_post"
    sites = layer_sites(lab.model, how.site, first)
    pool = pooling(how.pool, ask.level)
    table = tables.own(ask.items, sites, pool)
    other = tables.other(ask.items, sites, pool) if tables.twinned else None
    _narrow(table, sites, how.site)
    data = data_of(table, ask)
    prober = Prober(how.probe, len(data.names), how.hidden)
    with lab.working(how.n_seeds * len(sites), f"probing the {ask.what}") as done:
        seeded = [run_seed((table, other), sites, data, prober, derive(how.seed, "split", s), how.places, done) for s in range(how.n_seeds)]  # fmt: skip
    rng = lab.rng("profile", ask.what)
    task = profile([s.runs["task"] for s in seeded], rng)
    layers = (*(("embeddings",) if first else ()), *(f"layer {s.layer}" for s in sites[int(first) :]))
    fields = _fields(seeded, task, ask, how, layers)
    fields |= {"classes": data.names, "counts": np.bincount(data.y.ravel(), minlength=len(data.names)) if data.names else np.zeros(0)}  # fmt: skip
    return Found(
        ask=ask,
        task=task,
        fields=fields,
        scores=_scores(seeded, task, fields, tables.why, data, table.n_failed),
        notes=(*ask.notes, *table.notes, *_notes(seeded, fields, ask)),
    )


def pooling(pool: str, level: str) -> str:
    """The pooling asked for; "auto": the mean of a text, the last token of a word."""
    return pool if pool != "auto" else "mean" if level == "text" else "last"


def _narrow(table: Table, sites: tuple[Site, ...], site: str) -> None:
    wide = features(table.values[sites[0]][:1]).shape[1]
    if wide > _MOST_FEATURES:
        raise InputError(
            f"You asked for probes of {site}, of {wide:,} features.",
            f"A probe of more than {_MOST_FEATURES:,} features is not made.",
            "Choose resid_post, or mark words instead of pairs.",
        )


def _fields(
    seeded: list[Seeded], task: Profile, ask: Asked, how: Settings, layers: tuple[str, ...]
) -> dict[str, Any]:
    nothing = np.full(len(layers), np.nan)

    def curve(name: str) -> np.ndarray:
        runs = [s.runs[name] for s in seeded if name in s.runs]
        bars = sum(r.bar.sum() for r in runs)
        return 1 - np.sum([r.lost.sum(1) for r in runs], axis=0) / bars if runs else nothing

    def blind(name: str, bar: str = "") -> float:
        if not all(name in s.blind for s in seeded):
            return float("nan")
        return total([s.blind[name] for s in seeded], [s.blind[bar] if bar else s.bar for s in seeded])

    control = curve("control")
    right, n = (np.sum([getattr(s, f) for s in seeded], axis=0) for f in ("right", "asked"))
    names = {"text": "words of the text (bag of words)", "pair": "most frequent label of the pair of words"}
    words = "words alone (ridge)" if ask.numbers else names.get(ask.level, "most frequent label of the word")
    return {
        "what": ask.what,
        "level": ask.level,
        "unit": "R2" if ask.numbers else "accuracy",
        "probe": "ridge" if ask.numbers else how.probe,
        "layers": layers,
        "score": task.score,
        "interval": task.interval,
        "control": control,
        "selectivity": task.score - control,
        "untrained": curve("untrained"),
        "neighbour": curve("neighbour"),
        "majority": blind("majority"),
        "words_alone": blind("words"),
        "words_name": words,
        "neighbour_words": blind("neighbour words", "neighbour bar"),
        "best": task.best,
        "centre": task.centre,
        "centre_interval": task.centre_interval,
        "recall": np.where(n > 0, right / np.maximum(n, 1), np.nan),
        "dropped": ask.dropped,
        "measures": tuple(
            (name, float(np.mean([s.measures[i][1] for s in seeded])), float(np.mean([s.measures[i][2] for s in seeded])))
            for i, (name, _, _) in enumerate(seeded[0].measures)
        ),
    }  # fmt: skip


def _scores(
    seeded: list[Seeded], task: Profile, fields: dict[str, Any], why: str, data: Data, failed: int
) -> tuple[Score, ...]:
    """The chosen layer's score against each control; controls whose layer matters choose theirs in the same way."""

    def chosen(name: str) -> float | None:
        runs = [s.runs[name] for s in seeded if name in s.runs]
        return total([r.lost[r.best] for r in runs], [r.bar for r in runs]) if runs else None

    held = np.concatenate(
        [s.runs["task"].texts for s in seeded]
    )  # a text that several seeds hold out counts once
    unit, words = fields["unit"], fields["words_name"]
    controls = (
        (TWIN, chosen("untrained"), why),
        (words, fields["words_alone"], ""),
        ("the control task (labels to remember)", chosen("control"), ""),
    )
    return tuple(
        Score(
            name=f"{unit} at the layer that development texts choose, against {name}",
            value=task.chosen,
            chance=fields["majority"],
            control=value,
            control_name=name,
            interval=task.chosen_interval,
            n=int(np.isin(data.group, held).sum()),
            n_failed=failed,
            skipped=skipped if value is None else "",
        )
        for name, value, skipped in controls
    )


def _notes(seeded: list[Seeded], fields: dict[str, Any], ask: Asked) -> tuple[str, ...]:
    notes = []
    if ask.dropped:
        n = sum(count for _, count in ask.dropped)
        some = "1 class" if len(ask.dropped) == 1 else f"{len(ask.dropped)} classes"
        seen = "1 example" if n == 1 else f"{n} examples"
        notes.append(f"Left out as too rare: {some} with {seen}.")
    lacking = sum(s.missing for s in seeded)
    if lacking:
        notes.append(
            f"In {sum(s.missing > 0 for s in seeded)} of {len(seeded)} splits the training texts lack some class ({lacking} in all): it cannot be told there."
        )
    if np.isfinite(fields["neighbour"]).any():
        best, alone = float(np.nanmax(fields["neighbour"])), fields["neighbour_words"]
        bar = f"; this word alone tells {alone:.0%}" if np.isfinite(alone) else ""
        value = f"{best:.0%}" if fields["unit"] == "accuracy" else f"R2 {best:.2f}"
        notes.append(
            f"One word's vector also tells the label of the words beside it: {value} at the best layer{bar}. Context is in the vector, so a probe may learn from the words around as well as from structure."
        )
    return tuple(notes)


def told(found: Found) -> str:
    """The finding in words, with what is not beaten."""
    f, task = found.fields, found.task
    low, high = task.chosen_interval
    if f["unit"] == "accuracy":
        thing = {"word": "held-out words", "pair": "held-out word pairs", "text": "held-out texts"}[
            f["level"]
        ]
        said = f"for {task.chosen:.0%} of {thing} (95 % interval {low:.0%} to {high:.0%})"
        bars = f"the most frequent label is right for {f['majority']:.0%}, {_plain(f['words_name'])} for {f['words_alone']:.0%}"
    else:
        said = f"with R2 {task.chosen:.2f} on held-out texts (95 % interval {low:.2f} to {high:.2f})"
        bars = f"a guess of the mean has 0, {_plain(f['words_name'])} {f['words_alone']:.2f}"
    bars += "".join(
        f", {name} {s.control:.0%}" if f["unit"] == "accuracy" else f", {name} {s.control:.2f}"
        for name, s in zip(("randomised weights", "", "labels to remember"), found.scores)
        if name and s.control is not None
    )
    lost = [s.control_name for s in found.scores if s.beats_control is False]
    lost += ["the most frequent label"] if any(s.beats_chance is False for s in found.scores) else []
    verdict = f" It does NOT beat {' nor '.join(lost)}." if lost else ""
    centre = (
        f" What the layers add comes at {where(task.centre)} on average."
        if np.isfinite(task.centre)
        else " The layers add nothing certain to the first one probed."
    )
    return f"A {f['probe']} probe tells the {f['what']} {said}, best at {_layer(f)}; {bars}.{verdict}{centre}"


def _plain(name: str) -> str:
    return name if name.startswith("word") else f"the {name}"


def _layer(fields: dict[str, Any]) -> str:
    name = fields["layers"][fields["best"]]
    return f"the {name}" if name == "embeddings" else name
