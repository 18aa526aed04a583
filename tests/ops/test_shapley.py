"""Shapley, Owen and kernel estimators against theorems, brute force over orders, and each other."""

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest

from exegete.ops.kernel import allocate, draw, kernel
from exegete.ops.partition import cut, owen
from exegete.ops.perturb import bernoulli, distinct, removals, subsets, with_total
from exegete.ops.shapley import exact, exhaustive, permutation

SAMPLINGS = ("kernel", "paired", "leverage")


def table(values):
    """The game whose values [2^n, C] are given, and the list of the inputs it was asked."""
    n = len(values).bit_length() - 1
    asked = []

    def game(keep):
        rows = keep.astype(int) @ 2 ** np.arange(n)
        asked.extend(rows.tolist())
        return values[rows]

    return game, asked


def additive(n, rng):
    w = rng.normal(size=(n, 2))
    return lambda keep: 3.0 + keep @ w, w


def pairwise(n, rng):
    w, c = rng.normal(size=n), np.triu(rng.normal(size=(n, n)), 1)

    def game(keep):
        k = keep.astype(float)
        return (k @ w + np.einsum("vi,ij,vj->v", k, c, k))[:, None]

    return game, (w + (c.sum(0) + c.sum(1)) / 2)[:, None]


def by_orders(values, n, orders):
    """Slow twin: mean marginal contribution over the given orders."""
    phi = np.zeros((n, values.shape[1]))
    for order in orders:
        seen = 0
        for i in order:
            phi[i] += values[seen | 1 << i] - values[seen]
            seen |= 1 << i
    return phi / len(orders)


def test_exact_is_the_mean_over_all_orders():
    values = np.random.default_rng(0).normal(size=(2**5, 3))
    assert exact(values) == pytest.approx(by_orders(values, 5, list(permutations(range(5)))), abs=1e-12)


@pytest.mark.parametrize("group", [(0,), (1, 3), (0, 2, 4), (0, 1, 2, 3, 4, 5)])
def test_unanimity_games_share_equally(group):
    game = lambda keep: keep[:, list(group)].all(1)[:, None].astype(float)  # noqa: E731
    want = np.array([[1 / len(group) if i in group else 0.0] for i in range(6)])
    assert exhaustive(game, 6).values == pytest.approx(want, abs=1e-12)


def test_axioms():
    """Efficiency, symmetry, null player and linearity on a game with all four planted."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 2**6, 1))
    keep = subsets(6)
    alike = np.sin(keep[:, [0, 1]].sum(1) + 2 * keep[:, 2])[:, None]  # 0 and 1 alike, 3, 4, 5 do nothing
    phi = exact(alike)
    assert phi[0] == pytest.approx(phi[1])
    assert phi[3:] == pytest.approx(0)
    assert exact(first).sum() == pytest.approx((first[-1] - first[0])[0])
    assert exact(first + 2 * second) == pytest.approx(exact(first) + 2 * exact(second))


@pytest.mark.parametrize("n", [2, 3, 7, 15])
@pytest.mark.parametrize("make", [additive, pairwise])
def test_permutation_is_exact_on_additive_and_pairwise_games(make, n):
    game, want = make(n, np.random.default_rng(2))
    found = permutation(game, n, 4, np.random.default_rng(3))
    assert found.values == pytest.approx(want, abs=1e-10)
    assert found.stderr == pytest.approx(0, abs=1e-10)
    assert found.completeness().passed


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n", [2, 3, 8, 15, 70])
def test_kernel_is_exact_on_additive_games(sampling, n):
    game, want = additive(n, np.random.default_rng(4))
    found = kernel(game, n, 6 * n, np.random.default_rng(5), sampling)
    assert found.values == pytest.approx(want, abs=1e-8)
    assert np.nan_to_num(found.stderr) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("sampling", ["paired", "leverage"])
def test_paired_kernel_is_exact_on_pairwise_games(sampling):
    game, want = pairwise(15, np.random.default_rng(6))
    assert kernel(game, 15, 90, np.random.default_rng(7), sampling).values == pytest.approx(want, abs=1e-8)


def test_plain_kernel_is_not_exact_on_pairwise_games():
    """The companion that shows the test above can fail."""
    game, want = pairwise(15, np.random.default_rng(6))
    assert np.abs(kernel(game, 15, 90, np.random.default_rng(7), "kernel").values - want).max() > 0.05


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_kernel_with_every_subset_is_exact_and_says_so(sampling):
    values = np.random.default_rng(8).normal(size=(2**6, 2))
    game, asked = table(values)
    found = kernel(game, 6, 64, np.random.default_rng(9), sampling)
    assert found.values == pytest.approx(exact(values), abs=1e-12)
    assert (found.stderr == 0).all()
    assert sorted(asked) == list(range(64))


@pytest.mark.parametrize("n", [9, 10])
def test_nearly_every_subset_is_nearly_exact(n):
    """Weights and complements are right: with all but a few pairs taken the regression is almost the exact one."""
    values = np.random.default_rng(10).normal(size=(2**n, 1))
    found = kernel(table(values)[0], n, 2**n - 1, np.random.default_rng(11))
    assert np.abs(found.values - exact(values)).max() < 0.02


def test_leverage_never_asks_twice_and_keeps_the_budget():
    for n, budget in ((8, 100), (9, 37), (13, 512), (40, 33), (80, 300)):
        asked = []

        def game(keep, asked=asked):
            asked.extend(row.tobytes() for row in keep)
            return keep.sum(1, keepdims=True).astype(float)

        kernel(game, n, budget, np.random.default_rng(12))
        assert len(asked) == len(set(asked)) <= budget
        assert len(asked) >= budget - 3


def test_leverage_takes_small_sizes_whole():
    """12 players, 300 inputs: sizes 1 and 11 have 12 subsets each, fewer than a fair share, so all are there."""
    d = draw(12, 300, np.random.default_rng(13), "leverage")
    size = d.keep.sum(1)
    assert (size == 1).sum() == 12
    assert len({row.tobytes() for row in d.keep[size == 1]}) == 12
    assert (d.share[size == 1] == 1).all()
    assert d.keep[size == 6][:, 0].all()


@pytest.mark.parametrize("estimate", ["permutation", *SAMPLINGS])
def test_estimates_converge_and_standard_errors_are_calibrated(estimate):
    """Unbiased within the noise of 60 repetitions, and |error| < 2 standard errors in 85 % to 99.9 % of cases."""
    n, rng = 9, np.random.default_rng(14)
    keep = subsets(n)
    values = np.tanh(keep @ rng.normal(size=n) + 2 * keep[:, :3].all(1) - keep[:, 4:7].any(1))[:, None]
    truth, game, z, errors = exact(values), table(values)[0], [], []
    for s in range(60):
        rng = np.random.default_rng(100 + s)
        if estimate == "permutation":
            found = permutation(game, n, 40, rng)
        else:
            found = kernel(game, n, 150, rng, estimate)
        errors.append(found.values - truth)
        z.append((found.values - truth) / found.stderr)
    spread = np.std(errors, axis=0) / np.sqrt(len(errors))
    assert (np.abs(np.mean(errors, axis=0)) < 5 * spread + 1e-3).all()
    inside = float((np.abs(z) < 2).mean())
    assert 0.85 < inside < 0.999, inside
    assert float((np.abs(z) < 3).mean()) > 0.95


def test_too_few_samples_have_no_standard_error():
    game, _ = pairwise(30, np.random.default_rng(15))
    found = kernel(game, 30, 20, np.random.default_rng(16))
    assert np.isnan(found.stderr).all()
    assert found.completeness().passed


def test_inactive_players_score_nothing_and_the_rest_still_adds_up():
    rng = np.random.default_rng(17)
    values = rng.normal(size=(2**4, 2)).repeat(2**4, axis=0)  # the first four players of eight do nothing
    active = np.array([[False] * 4 + [True] * 4, [True] * 8])
    found = kernel(table(values)[0], 8, 100, rng, "leverage", active=active)
    assert (found.values[:4, 0] == 0).all()
    assert np.abs(found.values[:4, 1]).max() > 1e-4  # not told, the estimate only comes near
    assert found.values.sum(0) == pytest.approx(values[-1] - values[0])
    for whole in (kernel(table(values)[0], 8, 256, rng, active=active).values, exact(values)):
        assert whole[4:] == pytest.approx(exact(values[::16]), abs=1e-10)


def test_pools_are_sums_with_the_error_of_the_sum():
    values = np.random.default_rng(18).normal(size=(2**9, 1))
    pool = np.zeros((2, 9))
    pool[0, :4] = pool[1, 4:] = 1
    one = kernel(table(values)[0], 9, 120, np.random.default_rng(19))
    two = kernel(table(values)[0], 9, 120, np.random.default_rng(19), pool=pool)
    assert two.values == pytest.approx(pool @ one.values)
    assert two.stderr[0] == pytest.approx(two.stderr[1], rel=1e-6)  # the two sums add up to a constant


def test_total_is_the_last_column():
    game = with_total(lambda keep: np.stack([keep.sum(1), keep[:, 0]], 1).astype(float), lambda v: v.prod(-1))
    assert (game(subsets(3))[:, -1] == subsets(3).sum(1) * subsets(3)[:, 0]).all()


# ---- hierarchies -----------------------------------------------------------------------------------------------------


def tree_orders(start, stop, strength):
    """All orders of players start..stop in which every group of the tree stays together."""
    if stop - start == 1:
        return [(start,)]
    c = cut(strength, start, stop)
    left, right = tree_orders(start, c, strength), tree_orders(c, stop, strength)
    return [o for a in left for b in right for o in (a + b, b + a)]


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_owen_is_the_mean_over_orders_that_keep_groups_together(n):
    rng = np.random.default_rng(20)
    values, strength = rng.normal(size=(2**n, 2)), rng.integers(0, 3, size=max(n - 1, 0)).astype(float)
    game, asked = table(values)
    found, unsplit = owen(game, n, strength, 10_000)
    orders = tree_orders(0, n, strength)
    assert unsplit == 0
    assert found.values == pytest.approx(by_orders(values, n, orders), abs=1e-12)
    assert len(asked) == len(set(asked))


def test_owen_adds_up_at_any_budget_and_shares_unsplit_groups():
    values = np.random.default_rng(21).normal(size=(2**8, 1))
    change = float((values[-1] - values[0])[0])
    for budget in (2, 4, 5, 20, 43):
        game, asked = table(values)
        found, unsplit = owen(game, 8, np.zeros(7), budget)
        assert found.values.sum() == pytest.approx(change)
        assert len(asked) <= budget
        assert unsplit > 0
    assert owen(game, 8, np.zeros(7), 2)[0].values == pytest.approx(change / 8)
    four = owen(table(values)[0], 8, np.zeros(7), 4)[0].values[:, 0]
    assert four[:4] == pytest.approx(four[0])
    left = (values[15] - values[0] + values[255] - values[240])[0] / 2
    assert four[:4].sum() == pytest.approx(left)


def test_owen_equals_shapley_on_additive_games_and_keeps_a_phrase_together():
    game, want = additive(6, np.random.default_rng(22))
    assert owen(game, 6, np.zeros(5), 1000)[0].values == pytest.approx(want)
    both = lambda keep: (keep[:, 2] & keep[:, 3])[:, None].astype(float)  # noqa: E731
    found = owen(both, 6, np.array([0, 0, -1.0, 0, 0]), 1000)[0].values[:, 0]
    assert found == pytest.approx([0, 0, 0.5, 0.5, 0, 0])


def test_cut_is_the_strongest_gap_nearest_to_the_middle():
    assert cut(np.zeros(7), 0, 8) == 4
    assert cut(np.array([0, 0, 0, 0, 0, 2.0, 0]), 0, 8) == 6
    assert cut(np.array([1.0, 0, 1, 0, 0, 0, 1]), 0, 8) == 3


# ---- designs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "size", "k"), [(6, 3, 20), (6, 3, 7), (12, 5, 100), (40, 20, 50), (5, 0, 1), (5, 5, 1)]
)
def test_distinct_subsets_are_distinct_and_of_their_size(n, size, k):
    rows = distinct(np.random.default_rng(23), n, size, k)
    assert rows.shape == (k, n)
    assert (rows.sum(1) == size).all()
    assert len({r.tobytes() for r in rows}) == k


@pytest.mark.parametrize("k", [3, 9])
def test_distinct_subsets_are_equally_likely(k):
    """Both ways of drawing: chi-square over the 10 subsets of two of five players."""
    rng, counts = np.random.default_rng(24), {}
    for _ in range(2000):
        for row in distinct(rng, 5, 2, k):
            counts[row.tobytes()] = counts.get(row.tobytes(), 0) + 1
    assert len(counts) == comb(5, 2)
    assert max(counts.values()) / min(counts.values()) < 1.35


def test_designs():
    rng = np.random.default_rng(25)
    assert {tuple(r) for r in subsets(3)} == {
        tuple(i in c for i in range(3)) for s in range(4) for c in combinations(range(3), s)
    }
    keep = removals(rng, 4000, 6)
    assert keep[0].all()
    assert np.bincount(6 - keep[1:].sum(1), minlength=7)[1:] == pytest.approx(4000 / 6, rel=0.15)
    assert bernoulli(rng, 5000, 4, 0.3).mean(0) == pytest.approx(0.3, abs=0.03)


def test_allocation_fills_up_and_spills_over():
    assert allocate(np.ones(3), np.array([2.0, 100.0, 100.0]), 22) == pytest.approx([2, 10, 10])
    assert allocate(np.array([1.0, 1.0, 0.5]), np.full(3, 100.0), 5) == pytest.approx([2, 2, 1])
    assert allocate(np.ones(2), np.array([1.0, 2.0]), 50) == pytest.approx([1, 2])
