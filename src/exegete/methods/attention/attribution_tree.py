"""Self-attention attribution: what the output owes to every attention weight, as maps, as a tree of tokens, as heads to keep.

1. Attr of every weight of every attention, by integrated gradients while its layer's attention grows (`scaled_attention`),
   on the first half of the texts;
2. the tree of the first text, from the place where the output is read (`ops.token_tree`);
3. importance of a head: mean over texts of its largest Attr. Heads of least importance are pruned first, on the other
   half of the texts, and the model's own answer is watched (`head_pruning`);
4. controls: random orders, and the order of attention itself (mean over queries of the largest weight).

A text whose attributions do not add up within `tolerance` (a model that jumps, as routed experts do, or rounds, as half
precision does) counts as failed.

Cost: 17 to max_steps forwards and backwards an attention and text of the first half, from that layer on; at most n_points
(2 + n_random) forwards a text of the other half. Reference: Hao, Dong, Wei & Xu 2021, arXiv:2004.11207, sec. 3-5.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from exegete.core.errors import ModelError
from exegete.core.method import Need, register
from exegete.core.reference import Reference
from exegete.core.results.attention_attribution import AttributionMaps, AttributionTree, TreeEdge
from exegete.core.site import Site
from exegete.core.target import Target
from exegete.core.trust import Check, Score, Trust
from exegete.methods.attention.head_orders import points
from exegete.methods.attention.head_pruning import kept, numbered
from exegete.methods.attention.judged import beaten, mean_score
from exegete.methods.attention.scaled_attention import WORDS, Steps, Weighed, weigh
from exegete.methods.attention.token_routes import only_branch, pattern_sites, slots_of
from exegete.methods.contracts.study import Study
from exegete.models.ask import ask
from exegete.models.lab import Lab
from exegete.models.question import Question
from exegete.ops.rank import random_orders
from exegete.ops.token_tree import Layer, grow

PLACES = (
    5  # decimals of an importance, relative to the largest, that order heads: rounding of passes does not
)


@dataclass(frozen=True)
class _Text:
    """One text with the attributions of all its attentions."""

    q: Question
    found: list[Weighed]

    @property
    def gaps(self) -> np.ndarray:
        return np.array([w.gap for w in self.found])


@register
class AttributionTreeStudy(Study):
    """Attribution of every attention weight; a tree of tokens; heads pruned in its order, against random heads."""

    id: ClassVar[str] = "attribution_tree"
    family: ClassVar[str] = "attention"
    techniques: ClassVar[tuple[str, ...]] = ("B11",)
    verb: ClassVar[str] = "attend"
    asks: ClassVar[Any] = "texts"
    least: ClassVar[int] = 2
    finds: ClassVar[type] = AttributionTree
    reference: ClassVar[Reference] = Reference(
        authors="Hao, Dong, Wei & Xu", year=2021, title="Self-Attention Attribution: Interpreting Information Interactions",
        where="arXiv:2004.11207", equation="sec. 3-5",
    )  # fmt: skip
    needs: ClassVar[tuple[Need, ...]] = ("text", "logprobs", "sites", "gradients")
    passes: ClassVar[str] = "17 to max_steps forwards and backwards an attention and text, of half the texts; n_points (2 + n_random) forwards a text of the other"  # fmt: skip

    threshold: float = Field(
        0.4, ge=0, lt=1, description="least weight of an edge of the tree, of the layer's largest"
    )
    tolerance: float = Field(
        0.02, gt=0, le=1, description="gap allowed, as a share of what an attention changes"
    )
    max_steps: int = Field(257, ge=17, le=100_000, description="most points of the integral of an attention")
    n_points: int = Field(8, ge=1, le=1000, description="steps from no to all heads pruned")
    n_random: int = Field(10, ge=1, le=1000, description="random orders of heads")
    seed: int = Field(0, description="seed of the random orders")

    def study(self, lab: Lab, items: tuple[Any, ...], target: Target) -> AttributionTree:
        """Attributions on the first half of the texts, pruning on the other."""
        half = len(items) // 2
        texts = self._weighed(lab, items[:half], target)
        good = [t for t in texts if t.gaps.max() <= self.tolerance]
        if not good:
            raise self._open(lab, texts)
        importance = _mean([[w.attr.max((1, 2)) for w in t.found] for t in good])
        confidence = _mean([[_confidence(w) for w in t.found] for t in good])
        sites = [w.site for w in good[0].found]
        sizes, curves = self._pruned(lab, items[half:], target, sites, (importance, confidence))
        scores = self._scores(curves, len(texts) - len(good))
        first = good[0]
        root, tree = self._tree(first)
        return AttributionTree(
            title="What does the output owe to attention?",
            lede=_words(first, root, tree, scores),
            context=(("text", first.q.encoded.text),),
            maps=_maps(first),
            pieces=tuple(t.text for t in first.q.tokens),
            root=root,
            tree=tree,
            attentions=tuple(map(str, sites)),
            importance=_table(importance),
            confidence=_table(confidence),
            pruned=sizes,
            kept_attribution=curves[:, 0],
            kept_confidence=curves[:, 1],
            kept_random=curves[:, 2:].mean(1),
            gaps=np.max([t.gaps for t in good], 0),
            checks=(
                Check.at_most("attributions add up", max(t.gaps.max() for t in good), self.tolerance, WORDS),
            ),
            trust=Trust(scores=scores, seed=self.seed),
        )

    def _weighed(self, lab: Lab, items: tuple[Any, ...], target: Target) -> list[_Text]:
        steps, found = Steps("auto", self.tolerance / 2, self.max_steps), []
        with lab.working(len(items), "attention attributions") as step:
            for item in items:
                q = ask(lab.model, item, target)
                q.meter = lab.meter
                only_branch(q, self.id)
                sites = [s for group in pattern_sites(q) for s in group]
                found.append(_Text(q, weigh(q, sites, steps, lambda attr: attr)))
                step()
        return found

    def _pruned(
        self, lab: Lab, items: tuple[Any, ...], target: Target, sites: list[Site], orders: tuple[Any, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Heads pruned [point], and probabilities kept [text, order, point]: attribution, confidence, random orders."""
        heads = numbered(orders[0])
        sizes = points(len(heads), self.n_points + 1)
        chance = random_orders(len(heads), self.n_random, lab.rng("heads"))
        every = np.stack([*(_rising(values) for values in orders), *chance])
        aim, found = lab.aim(items, target), []
        with lab.working(len(aim), "pruning heads") as step:
            for i in range(len(aim)):
                found.append(kept(lab, aim.only(i), sites, every, sizes, heads))
                step()
        return sizes, np.stack(found)

    def _scores(self, curves: np.ndarray, failed: int) -> tuple[Score, ...]:
        area = curves.mean(-1)  # [text, order]
        own, raw, chance = area[:, 0], area[:, 1], area[:, 2:].mean(1)
        name, control = "probability of the answer, mean over the pruning curve", "random order of heads"
        return (
            mean_score(
                f"{name}, least attribution first", own, control=chance, control_name=control, failed=failed
            ),
            mean_score("the same, text by text, above random order", own - chance, chance=0.0, failed=failed),
            mean_score(
                "the same, text by text, above the order of attention", own - raw, chance=0.0, failed=failed
            ),
        )

    def _tree(self, text: _Text) -> tuple[int, tuple[TreeEdge, ...]]:
        layers = [Layer(w.attr.sum(0), *slots_of(text.q, w.site)) for w in text.found]
        at = text.q.branches[0].rows[0].position
        top = next(x for w, x in zip(reversed(text.found), reversed(layers)) if w.site.kind == "pattern")
        place = int(np.abs(top.weights).sum(1).argmax()) if at is None else at
        root = int(max(top.queries[place], 0))
        edges = grow(layers, root, self.threshold)
        return root, tuple(
            TreeEdge(parent=b.parent, child=b.child, attention=b.layer, weight=b.weight) for b in edges
        )

    def _open(self, lab: Lab, texts: list[_Text]) -> ModelError:
        least = min(float(t.gaps.max()) for t in texts)
        return ModelError(
            f"You asked what the output of {lab.model.name} owes to its attention.",
            f"On no text do attributions add up to what attention does: the gap is {least:.0%} or more, as it is where a model "
            "jumps (routed experts) or rounds (half precision).",
            "Raise max_steps, or raise tolerance and read the result with care.",
        )


def _confidence(w: Weighed) -> np.ndarray:
    """Mean over queries that see several keys of the largest weight [head]."""
    p = w.pattern.double().cpu().numpy()
    several = (p > 0).sum(-1) > 1
    n = several.sum(-1)
    return np.where(n > 0, (p.max(-1) * several).sum(-1) / np.maximum(n, 1), 0.0)


def _mean(texts: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Mean over texts of numbers [head] of each attention."""
    return [np.mean(each, 0) for each in zip(*texts)]


def _rising(values: list[np.ndarray]) -> np.ndarray:
    """Heads of all attentions from the least to the most important; equal ones stay in their order."""
    flat = np.concatenate(values)
    return np.argsort(np.round(flat / max(np.abs(flat).max(), 1e-30), PLACES), kind="stable")


def _table(values: list[np.ndarray]) -> np.ndarray:
    """[attention, head], NaN where an attention has fewer heads."""
    out = np.full((len(values), max(map(len, values))), np.nan)
    for row, heads in zip(out, values):
        row[: len(heads)] = heads
    return out


def _maps(text: _Text) -> tuple[AttributionMaps, ...]:
    """The attributions of each kind of attention, all layers together."""
    groups: dict[tuple[str, str], list[Weighed]] = {}
    for w in text.found:
        groups.setdefault((w.site.stack, w.site.kind), []).append(w)
    pieces = [t.text for t in text.q.tokens]
    found = []
    for (stack, kind), ws in groups.items():
        queries, keys = (
            tuple(pieces[s] if s >= 0 else "(start)" for s in side) for side in slots_of(text.q, ws[0].site)
        )
        across = "cross-" if kind == "cross_pattern" else "self-"
        name = f"{across}attention" + (f" of {stack}" if stack else "")
        values = np.stack([w.attr for w in ws]).astype(np.float32)
        found.append(AttributionMaps(name=name, values=values, queries=queries, keys=keys))
    return tuple(found)


def _words(text: _Text, root: int, tree: tuple[TreeEdge, ...], scores: tuple[Score, ...]) -> str:
    pieces = [t.text.strip() for t in text.q.tokens]
    best = sorted(tree, key=lambda e: -e.weight)[:3]
    named = ", ".join(f"'{pieces[e.child]}'" for e in best) or "no token"
    first = f"Towards '{pieces[root]}' information flows from {named}."
    _, random, raw = scores
    words = ["more" if beaten(s) else "NOT more" for s in (random, raw)]
    return f"{first} Pruning the heads of least attribution keeps {words[0]} of the answer than random order, and {words[1]} than the order of attention."
