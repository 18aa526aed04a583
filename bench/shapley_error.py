"""How many evaluations do Shapley values cost? Leverage and paired sampling against plain kernel sampling, at equal error.

    python bench/shapley_error.py [--games 4] [--seeds 30]

1. games of 12 players whose 4,096 values are known: words of a random tiny model removed by its mask token (three
   families) and of the embedded sentiment model, and synthetic ones (unanimity games, pairwise games, a saturating sum);
2. each sampling estimates the Shapley values with growing budgets; evaluations are counted twice: as distinct inputs
   (a memory in front of the model, which favours plain sampling: it draws many inputs twice) and as inputs asked;
3. the error is the mean squared error against the exact values, relative to their mean square, over players and seeds;
4. the ratio is (evaluations plain kernel sampling needs for the error that leverage reaches) / (evaluations leverage took),
   interpolated in log-log, a lower bound where plain sampling never gets there; 2.0 or more means at most half of the
   evaluations.

Output: one JSON line a game and sampling, then the median ratios a kind of game ("ratio": plain / this sampling; the goal,
at least 2, is set for leverage sampling over all games).
"""

import argparse

import numpy as np

from exegete.core.seed import generator
from exegete.models.ask import ask
from exegete.models.load import load
from exegete.models.remove import Game
from exegete.models.tiny import tiny
from exegete.ops.kernel import Sampling, kernel
from exegete.ops.perturb import subsets
from exegete.ops.shapley import exact
from timing import emit

N = 12
BUDGETS = (48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
PLAIN_BUDGETS = (*BUDGETS, 1536, 2048, 3072, 4095)
TEXT = "the old house in paris is on the river when mary went"
TRAINED = (
    "the food was not good but the staff were wonderful and kind",
    "the room was clean and quiet but the service was really slow",
    "the film is a great and moving story about a young teacher",
    "i did not like the soup , but the bread was fresh",
)
SAMPLINGS: tuple[Sampling, ...] = ("kernel", "paired", "leverage")


def model_game(family: str, task: str, seed: int) -> np.ndarray:
    """Values [4096] of a random tiny model on twelve words."""
    q = ask(load(tiny(family, task, seed=seed)), TEXT)
    units = q.units("word")
    assert len(units) == N, len(units)
    return q.total(Game(q, units)(subsets(N)))


def trained_game(text: str) -> np.ndarray:
    """Values [4096] of the embedded sentiment model on a text of twelve words."""
    q = ask(load("terrarium/sentiment"), text)
    units = q.units("word")
    assert len(units) == N, (len(units), text)
    return q.total(Game(q, units)(subsets(N)))


def unanimity_game(seed: int) -> np.ndarray:
    """A sum of 40 random groups that pay when all their members are there."""
    rng, keep = generator(seed, "unanimity"), subsets(N)
    out = np.zeros(len(keep))
    for _ in range(40):
        group = rng.permutation(N)[: rng.integers(1, 6)]
        out += rng.normal() * keep[:, group].all(1)
    return out


def pairwise_game(seed: int) -> np.ndarray:
    """Random main effects and pair interactions."""
    rng, keep = generator(seed, "pairwise"), subsets(N).astype(float)
    return keep @ rng.normal(size=N) + np.einsum("vi,ij,vj->v", keep, rng.normal(size=(N, N)), keep) / 2


def saturating_game(seed: int) -> np.ndarray:
    """A steep sigmoid of a weighted sum."""
    rng, keep = generator(seed, "saturating"), subsets(N)
    return 1 / (1 + np.exp(-4 * (keep @ rng.normal(size=N))))


def curve(values: np.ndarray, sampling: Sampling, seeds: int) -> list[tuple[float, float, float]]:
    """(mean distinct inputs, inputs asked, relative mean squared error) at each budget."""
    truth, code = exact(values[:, None])[:, 0], 2 ** np.arange(N)
    points = []
    for budget in PLAIN_BUDGETS if sampling == "kernel" else BUDGETS:
        errors, used, asked = [], [], [0]
        for s in range(seeds):
            seen: set[int] = set()

            def game(keep: np.ndarray, seen: set[int] = seen, asked: list[int] = asked) -> np.ndarray:
                asked[0] += len(keep)
                seen.update((rows := keep @ code).tolist())
                return values[rows][:, None]

            got = kernel(game, N, budget, generator(s, sampling, budget), sampling).values[:, 0]
            errors.append(float(((got - truth) ** 2).mean() / (truth**2).mean()))
            used.append(len(seen))
        points.append((float(np.mean(used)), asked[0] / seeds, float(np.mean(errors))))
    return points


def ratio(
    plain: list[tuple[float, float, float]], better: list[tuple[float, float, float]], count: int
) -> list[float]:
    """For each budget of `better`: evaluations of plain sampling at that error / its own.

    An error that plain sampling does not reach within its largest budget counts as that budget: a lower bound.
    """
    used, error = np.array(plain)[:, [count, 2]].T
    best = -np.log(np.minimum.accumulate(error))
    needed = np.interp([-np.log(max(p[2], 1e-300)) for p in better], best, np.log(used))
    return [float(np.exp(x)) / p[count] for x, p in zip(needed, better)]


def games(many: int) -> dict[str, np.ndarray]:
    """All games by name."""
    made = {f"terrarium-{i}": trained_game(text) for i, text in enumerate(TRAINED[:many])}
    for s in range(many):
        for family, task in (("bert", "sequence"), ("gpt2", "causal"), ("llama", "sequence")):
            made[f"{family}-{task}-{s}"] = model_game(family, task, s)
        made |= {f"unanimity-{s}": unanimity_game(s), f"pairwise-{s}": pairwise_game(s)}
        made[f"saturating-{s}"] = saturating_game(s)
    return made


def main() -> None:
    """Run everything and print JSON lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--games", type=int, default=4, help="games of each kind")
    parser.add_argument("--seeds", type=int, default=30, help="repetitions of each estimate")
    options = parser.parse_args()
    ratios: dict[tuple[str, str, str], list[float]] = {}
    for name, values in games(options.games).items():
        curves = {s: curve(values, s, options.seeds) for s in SAMPLINGS}
        for s in SAMPLINGS:
            emit("curve", bench="shapley", game=name, sampling=s, distinct_asked_error=curves[s])
        for s in SAMPLINGS[1:]:
            for count, by in enumerate(("distinct", "asked")):
                found = ratio(curves["kernel"], curves[s], count)
                for kind in (name.rsplit("-", 1)[0], "all"):
                    ratios.setdefault((s, by, kind), []).extend(found)
    for (s, by, kind), found in ratios.items():
        value = float(np.median(found))
        goal = {"goal": 2.0, "reached": value >= 2.0} if (s, kind) == ("leverage", "all") else {}
        emit("result", bench=f"shapley evals saved, {by}", arm=f"{s}, {kind}", ratio=round(value, 2), **goal)


if __name__ == "__main__":
    main()
