"""Jabberwocky probe: does a syntactic probe read syntax, or which words tend to go together?

1. distance probes are trained at every layer on real sentences, as in the structural probe, and the layer is chosen on real
   development sentences;
2. in the test sentences every open-class word becomes a pronounceable pseudo-word that keeps its ending and, where one is found,
   its number of tokens (`ops.pseudo_words`); the trees stay as they are;
3. the same probes read real and pseudo sentences: what UUAS falls by was not syntax but meaning;
4. the same with the model with randomised weights (at its own layer, or at the probe's where it finds more), and at the
   embeddings, which know words alone.

Chance is the chain of neighbours, which no word can change: a probe that falls to it knew no more syntax than that.

Cost: 2 forwards a sentence, 4 a test sentence. Reference: Hall Maudslay & Cotterell 2021, "Do Syntactic Probes Probe Syntax?
Experiments with Jabberwocky Probing".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from exegete.core.material import Parsed
from exegete.core.method import register
from exegete.core.reference import Reference
from exegete.core.results.tree_by_layer import TreeByLayer
from exegete.core.target import Target
from exegete.core.trust import Score, Trust
from exegete.methods.contracts.twins import TWIN
from exegete.methods.probing.tree_profile import CHANCE, Held, Profile, score, stronger, trained
from exegete.methods.probing.tree_study import TreeStudy
from exegete.methods.probing.tree_table import Parts, TreeTable, examples, layer_name, read_table
from exegete.models.harvested import Tables
from exegete.models.lab import Lab
from exegete.ops.pseudo_words import cased, is_open, pseudo_words
from exegete.ops.tree_probe import Training
from exegete.ops.tree_scores import DSPR, N_RESAMPLES, UUAS, TreeRead, linear_read, read_trees

REAL, BLIND = "the real sentences", f"{TWIN}, pseudo-words"
MEASURES = (UUAS, DSPR)


@register
class Jabberwocky(TreeStudy):
    """What a structural probe, trained on real sentences, still finds when the words mean nothing."""

    id: ClassVar[str] = "jabberwocky"
    techniques: ClassVar[tuple[str, ...]] = ("E11",)
    reference: ClassVar[Reference] = Reference(
        authors="Hall Maudslay and Cotterell", year=2021,
        title="Do Syntactic Probes Probe Syntax? Experiments with Jabberwocky Probing", where="arXiv:2106.02559",
        equation="sec. 3-4",
    )  # fmt: skip
    passes: ClassVar[str] = "2 forwards a sentence, 4 a test sentence"

    @property
    def whole(self) -> str:
        """Pseudo-words stand in its test sentences, which are dealt from all of them."""
        return "which sentences are made of pseudo-words is dealt among all"

    def found(self, lab: Lab, items: tuple[Any, ...], tables: Tables, target: Target) -> TreeByLayer:
        """Over parsed sentences."""
        read = self.read(lab, items, tables)
        sites, table, parts, how = read.sites, read.table, read.parts, read.how
        changed, told = _jabbered(lab, table, parts)
        own = _Both.of(lab, table, parts, changed, how, "training probes")
        plain = None
        if read.twin is not None and read.other is not None:
            plain = _Both.of(read.twin, read.other, parts, changed, how, "probes of randomised weights")
        linear = linear_read(own.table.gold, table.gold.part(parts[0]))
        scores = _scores(lab, own, plain, linear, read.reason, table.n_failed + len(parts[2]) - len(own.table.trees))  # fmt: skip
        at = own.profile.best(UUAS)
        return TreeByLayer(
            title="Does the probe find the tree when the words mean nothing?",
            lede=_words(scores, layer_name(sites[at]), "" if plain is None else layer_name(sites[plain.held("pseudo", at)[1]])),
            context=told[:2],
            layers=tuple(layer_name(s) for s in sites),
            measures=MEASURES,
            values=_values(own.pseudo),
            intervals=np.array([[r.interval(m, lab.rng("interval", m)) or (np.nan, np.nan) for r in own.pseudo] for m in MEASURES]),
            controls=(REAL, BLIND),
            rivals=(REAL,),
            by_control=np.stack([_values(own.real), np.full((2, len(sites)), np.nan) if plain is None else _values(plain.pseudo)]),
            chance=np.array([linear.value(m) for m in MEASURES]),
            chance_name=CHANCE,
            best=tuple(own.profile.best(m) for m in MEASURES),
            seeds=np.array([own.pseudo[at].value(UUAS)]),
            probe="sentences of pseudo-words",
            sentences=examples(own.table, np.arange(len(own.table.trees)), own.distances[at], own.pseudo[at].right, own.pseudo[at].total),
            trust=Trust(scores=scores, seed=self.seed, notes=(*read.notes, told[2][1])),
        )  # fmt: skip


@dataclass(frozen=True)
class _Both:
    """Probes of one model, and what they read of the test sentences, real and of pseudo-words [layer]; the latter's table."""

    profile: Profile
    table: TreeTable
    real: tuple[TreeRead, ...]
    pseudo: tuple[TreeRead, ...]
    distances: tuple[list[np.ndarray], ...]

    @classmethod
    def of(
        cls, lab: Lab, table: TreeTable, parts: Parts, changed: Sequence[Any], how: Training, words: str
    ) -> "_Both":  # fmt: skip
        """Train on `table`, read `changed` (the test sentences, their place as id)."""
        profile = Profile.of(lab, table, parts, trained(lab, table, parts, how), words, ("distance",))
        read = read_table(lab, changed, list(table.values), least=1)
        places = [int(t.id) for t in read.trees]
        distances = [p[0].predict(x) for p, x in zip(profile.probes, read.values.values())]
        flat = [np.zeros(len(h)) for h in read.gold.heads]
        kept = table.gold.part(parts[2][places])
        return cls(
            profile,
            read,
            tuple(read_trees([d[i] for i in places], flat, kept) for d in profile.distances),
            tuple(read_trees(d, flat, read.gold) for d in distances),
            tuple(distances),
        )

    def held(self, which: Literal["real", "pseudo"], at: int) -> Held:
        """As a control of a probe at layer `at`: UUAS of real or of pseudo sentences, and where (chosen on real ones)."""
        reads = self.real if which == "real" else self.pseudo
        return stronger([r.value(UUAS) for r in reads], self.profile.best(UUAS), at)


def _values(reads: Sequence[TreeRead]) -> np.ndarray:
    return np.array([[r.value(m) for r in reads] for m in MEASURES])


def _jabbered(lab: Lab, table: TreeTable, parts: Parts) -> tuple[list[Any], tuple[tuple[str, str], ...]]:
    """The test sentences with pseudo-words, and in words: one of them before and after, and how many tokens stayed."""
    tokenizer = lab.model.tokenizer

    def pieces(words: list[str]) -> list[int]:
        return [len(x) for x in tokenizer([f" {w}" for w in words], add_special_tokens=False)["input_ids"]]

    trees = [table.trees[i] for i in parts[2]]
    tags = [t.tags or ("",) * len(t.words) for t in trees]
    spots = [
        [is_open(tag, r) and w.isalpha() for w, tag, r in zip(t.words, some, t.relations)]
        for t, some in zip(trees, tags)
    ]
    wanted = [(w.lower(), tag) for t, some, at in zip(trees, tags, spots) for w, tag, o in zip(t.words, some, at) if o]  # fmt: skip
    known = {w for t in table.trees for w in t.words}
    made = pseudo_words(wanted, known, pieces, lab.rng("pseudo-words"))
    found = [
        Parsed(
            words=tuple(cased(made[(w.lower(), tag)], w) if o else w for w, tag, o in zip(t.words, some, at)),
            heads=t.heads,
            relations=t.relations,
            tags=t.tags,
            id=str(k),
        )
        for k, (t, some, at) in enumerate(zip(trees, tags, spots))
    ]
    pairs = list(made.items())
    same = np.mean(np.array(pieces([w for (w, _), _ in pairs])) == np.array(pieces([v for _, v in pairs]))) if pairs else 1.0  # fmt: skip
    shown = min(range(len(trees)), key=lambda k: abs(len(trees[k].words) - 10))
    said = f"{len(pairs)} words became pseudo-words; {same:.0%} of them kept their number of tokens."
    return found, (("real", trees[shown].text), ("pseudo-words", found[shown].text), ("", said))


def _scores(
    lab: Lab, own: _Both, plain: _Both | None, linear: TreeRead, reason: str, failed: int
) -> tuple[Score, ...]:  # fmt: skip
    """UUAS on real and on pseudo sentences, and what is lost between them."""
    at = own.profile.best(UUAS)
    real = score(lab, own.real[at], UUAS, linear, None if plain is None else plain.held("real", at)[0], TWIN, reason, failed, ", real words,")  # fmt: skip
    pseudo = score(lab, own.pseudo[at], UUAS, linear, None if plain is None else plain.held("pseudo", at)[0], BLIND, reason, failed, ", pseudo-words,")  # fmt: skip
    lost = Score(
        name="UUAS lost when the words mean nothing",
        value=real.value - pseudo.value,
        better="lower",
        chance=real.value - linear.value(UUAS),
        control=own.real[0].value(UUAS) - own.pseudo[0].value(UUAS),
        control_name="what the embeddings of the words alone lose",
        interval=_lost(own.real[at], own.pseudo[at], lab.rng("interval of the loss")),
        n=len(own.table.trees),
        n_failed=failed,
    )
    return pseudo, real, lost


def _lost(real: TreeRead, pseudo: TreeRead, rng: np.random.Generator) -> tuple[float, float] | None:
    """Interval of the loss by resampling sentences, the same ones in both."""
    n = len(real.total)
    if n < 2:
        return None
    drawn = rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES).astype(np.float64)
    values = drawn @ (real.right - pseudo.right) / np.maximum(drawn @ real.total, 1)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _words(scores: Sequence[Score], layer: str, plain: str) -> str:
    """`layer` of the probe, and of the one on randomised weights."""
    pseudo, real, _ = scores
    twin = "" if pseudo.control is None else f", randomised weights {pseudo.control:.0%} (at {plain})"
    told = (
        f"At {layer} the probe finds {real.value:.0%} of the edges of real sentences, and {pseudo.value:.0%} where open-class words "
        f"are pseudo-words; joining neighbours gives {pseudo.chance:.0%}{twin}."
    )
    if not pseudo.beats_chance or pseudo.beats_control is False:
        return (
            f"{told} Without meaning it does not beat these controls: what it read is not shown to be syntax."
        )
    above = (pseudo.value - (pseudo.chance or 0)) / max(real.value - (pseudo.chance or 0), 1e-9)
    return f"{told} {min(above, 1.0):.0%} of what it has above neighbours does not need meaning."
