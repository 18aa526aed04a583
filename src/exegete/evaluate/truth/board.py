"""Circuit findings held against circuits that are known: one finding (`against_gold`), or methods on all compiled models.

1. the edges (of a finding of parts: the parts) in order of |score|; AUROC is the share of (gold, other) pairs in which the
   gold one stands first, ties one half; a guess scores 0.5;
2. interval: gold and other edges drawn anew, each kind by itself, or, where wider, what so few gold edges leave open; control: what
   the best 2.5 % of random orders reach, which is far above 0.5 where few edges are gold. Random orders decide whether a guess is
   beaten (a permutation test), as the interval does not know that the edges were ordered among each other;
3. precision and recall of what the finding keeps, against the share that as many random edges would have, and their percentile
   among all sets of as many edges (hypergeometric, exact). A finding that keeps nothing has no precision.

Cost: no pass for one finding; `circuit_board` costs what its methods cost, about 15 s on one core for all.
References: Conmy et al. 2023 (arXiv:2304.14997), sec. 4 (ROC of circuit edges); Mueller et al. 2025 (arXiv:2504.13151).
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import hypergeom

from exegete.core.errors import UsageError
from exegete.core.method import Method
from exegete.core.results.circuits import Circuit, NodeEffects
from exegete.core.results.finding import Finding
from exegete.core.results.truth import CircuitTruth
from exegete.core.seed import generator
from exegete.core.trust import Score, Trust
from exegete.evaluate.truth.compiled import Compiled, compiled, compiled_names
from exegete.methods.contracts.study import Study
from exegete.methods.mechanisms.acdc import ACDC
from exegete.methods.mechanisms.edge_attribution_patching import EdgeAttributionPatching
from exegete.methods.mechanisms.node_patching import NodePatching
from exegete.ops.circuit import auroc
from exegete.ops.stats import bounded_mean

_DRAWS = 500
_ORDERS = "the best 2.5 % of random orders"


def usual_methods() -> dict[str, Method]:
    """The methods that are held against the truth where none are named; judging by themselves is kept short."""
    lean = {"n_draws": 1, "n_dropped": 1, "n_sizes": 2}
    return {
        "EAP": EdgeAttributionPatching.build({"ig_steps": 0, "n_top": 2, **lean}),
        "EAP-IG": EdgeAttributionPatching.build({"ig_steps": 10, "n_top": 2, **lean}),
        "ACDC": ACDC.build(lean),
        "node patching": NodePatching(),
    }


def circuit_board(
    methods: Mapping[str, Method] | None = None, models: tuple[str, ...] = (), n_pairs: int = 24, seed: int = 0
) -> CircuitTruth:  # fmt: skip
    """Methods by label (left out: the usual ones) on compiled models by name (left out: all). Raises `UnknownName`, `UsageError`."""
    chosen = dict(methods) if methods is not None else usual_methods()
    golds = [compiled(name) for name in models or compiled_names()]
    scores, table = [], np.full((3, len(chosen), len(golds)), np.nan)
    for j, gold in enumerate(golds):
        for i, (label, method) in enumerate(chosen.items()):
            found = against_gold(_ask(label, method, gold, n_pairs, seed), gold, seed)
            table[: len(found), i, j] = [s.value for s in found]
            scores += [s.model_copy(update={"name": f"{label} on {gold.name}: {s.name}"}) for s in found]
    return CircuitTruth(
        title="Do methods of circuit discovery find circuits that are known?",
        lede=_lede(tuple(chosen), tuple(g.name for g in golds), table[0]),
        context=(("pairs a model", str(n_pairs)),),
        methods=tuple(chosen),
        models=tuple(g.name for g in golds),
        auroc=table[0],
        precision=table[1],
        recall=table[2],
        gold=np.array([len(g.edges) for g in golds]),
        total=np.array([g.n_edges for g in golds]),
        trust=Trust(scores=tuple(scores), seed=seed),
    )


def against_gold(found: Finding, gold: Compiled, seed: int = 0) -> tuple[Score, ...]:
    """AUROC of a finding's scores against the gold circuit, and precision and recall of what it keeps (of edges only).

    Raises `UsageError` for a finding that scores no edges or parts, or those of another model.
    """
    if isinstance(found, Circuit):
        names = tuple((found.nodes[w], found.readers[r]) for w, r in found.edges)
        truth = _gold(names, gold.edges, found, gold)
        return (_auroc("AUROC of edges", found.scores, truth, seed), *_kept(found.kept, truth))
    if isinstance(found, NodeEffects):
        parts, effects = zip(*found.ranking)
        truth = _gold(parts, gold.nodes, found, gold)
        return (_auroc("AUROC of parts", np.array(effects), truth, seed),)
    raise UsageError(
        f"You held a {type(found).__name__} against a known circuit.",
        "It scores neither the edges nor the parts of a model.",
        "Give the finding of edge_attribution_patching, acdc, circuit_faithfulness or node_patching.",
    )


def _ask(label: str, method: Method, gold: Compiled, n_pairs: int, seed: int) -> Finding:
    if not isinstance(method, Study):
        raise UsageError(
            f"You held {label!r} against known circuits.",
            f"{method.id!r} explains the words of a text.",
            "Give studies of circuits, such as acdc.",
        )
    return method(gold.model, gold.pairs(n_pairs, seed))


def _gold(names: tuple, gold: tuple, found: Finding, of: Compiled) -> np.ndarray:
    """Which of `names` are gold [n] bool."""
    if found.provenance.model != of.model.name or not set(gold) <= set(names):
        raise UsageError(
            f"You held a circuit of {found.provenance.model or 'a model'} against the one of {of.model.name}.",
            "It is of another model.",
            f"Make the finding on compiled({of.name!r}).model.",
        )
    known = set(gold)
    return np.array([n in known for n in names])


def _auroc(name: str, scores: np.ndarray, truth: np.ndarray, seed: int) -> Score:
    strength = np.abs(scores)
    rng = generator(seed, "against gold", name)
    orders = [auroc(rng.permutation(strength), truth) for _ in range(_DRAWS)]
    kinds = [np.flatnonzero(truth), np.flatnonzero(~truth)]
    draws = [np.concatenate([rng.choice(k, len(k)) for k in kinds]) for _ in range(_DRAWS)]
    value, others = auroc(strength, truth), strength[kinds[1]]
    places = np.array([np.mean((s > others) + (s == others) / 2) for s in strength[kinds[0]]])
    low, high = np.quantile([auroc(strength[d], truth[d]) for d in draws], [0.025, 0.975])
    least, most = bounded_mean(places) or (0.0, 1.0)  # one gold edge leaves all open
    worst, best = (float(x) for x in np.quantile(orders, [0.025, 0.975]))
    over = (value - best, value - worst)
    return Score(
        name=name, value=value, chance=0.5, control=best, control_name=_ORDERS, over_chance=over, over_control=over,
        interval=(min(float(low), least), max(float(high), most)), n=len(truth),
    )  # fmt: skip


def _kept(kept: np.ndarray, truth: np.ndarray) -> tuple[Score, Score]:
    """Precision and recall; as many random edges have the share of gold, and the share of edges kept."""
    both, n, m = int((kept & truth).sum()), int(kept.sum()), int(truth.sum())
    below, here = (float(f(both, len(truth), m, n)) for f in (hypergeom.cdf, hypergeom.pmf))
    above = 100 * min(1.0, max(0.0, below - here / 2))
    return (
        Score(
            name="precision of kept edges", value=both / n if n else float("nan"), chance=float(truth.mean()), percentile=above,
            n=n, n_failed=int(n == 0), skipped="" if n else "no edge is kept",
        ),
        Score(name="recall of gold edges", value=both / m, chance=float(kept.mean()), percentile=above, n=m),
    )  # fmt: skip


def _lede(methods: tuple[str, ...], models: tuple[str, ...], found: np.ndarray) -> str:
    least = found.min(axis=1)
    told = "; ".join(
        f"{m} {a.mean():.3f} (least {low:.3f}, {models[int(a.argmin())]})" for m, a, low in zip(methods, found, least)
    )  # fmt: skip
    return f"Mean AUROC over {len(models)} models whose circuit is known (a guess: 0.5): {told}."
