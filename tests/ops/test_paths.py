"""Quadrature against known integrals, refinement against its own promises, word paths against a slow twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.ops.paths import Sample, crossing, fixed, monotone, nodes, refine, scale, shares, word_path


class Curve:
    """f on L lines with known slope; its parts are two functions that sum to the slope. Keeps every point it was asked for."""

    def __init__(self, f, slope, first):
        self.f, self.slope, self.first, self.seen = f, slope, first, []

    def __call__(self, line, t):
        self.seen += list(zip(line.tolist(), t.tolist()))
        slope = self.slope(line, t)
        one = self.first(line, t)
        return Sample(self.f(line, t), slope, np.stack([one, slope - one], 1))

    def ends(self, lines=1):
        every = np.arange(lines)
        return self.f(every, np.zeros(lines)), self.f(every, np.ones(lines))


def smooth():
    """f_k = exp((k + 1) t) + sin(5 t); the first part is cos(5 t) * 5, whose integral is sin 5."""
    return Curve(
        lambda k, t: np.exp((k + 1) * t) + np.sin(5 * t),
        lambda k, t: (k + 1) * np.exp((k + 1) * t) + 5 * np.cos(5 * t),
        lambda k, t: 5 * np.cos(5 * t),
    )


def steep(width=1e-3, at=0.37):
    """An arctangent step, as a norm makes where the path passes close to zero."""
    return Curve(
        lambda k, t: np.arctan((t - at) / width),
        lambda k, t: 1 / (width * (1 + ((t - at) / width) ** 2)),
        lambda k, t: np.zeros_like(t),
    )


@pytest.mark.parametrize(
    "rule,n,degree", [("gauss_legendre", 5, 9), ("gauss_legendre", 1, 1), ("riemann_trapezoid", 2, 1)]
)
def test_rules_are_exact_to_their_degree_and_no_further(rule, n, degree):
    t, w = nodes(rule, n)
    assert np.all(np.diff(t) > 0) and w.sum() == pytest.approx(1)
    for k in range(degree + 1):
        assert w @ t**k == pytest.approx(1 / (k + 1), abs=1e-14)
    assert abs(w @ t ** (degree + 1) - 1 / (degree + 2)) > 1e-7


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="simpson"):
        nodes("simpson", 3)


def test_fixed_integrates_every_line_and_reports_the_gap():
    found = fixed(smooth(), lambda: smooth().ends(3), "gauss_legendre", 12, 3)
    assert found.parts[:, 0] == pytest.approx(np.sin(5), abs=1e-9)
    assert found.parts[:, 1] == pytest.approx(np.exp([1, 2, 3]) - 1, abs=1e-9)
    assert found.gap.max() < 1e-8 and found.points == 36
    assert fixed(smooth(), lambda: smooth().ends(3), "riemann_trapezoid", 3, 3).gap.min() > 0.1


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 0.3), st.integers(1, 5), st.integers(1, 4))
def test_refine_keeps_its_promise_on_every_line(tolerance, lines, first):
    curve = smooth()
    found = refine(curve, tolerance, 4000, lines, first)
    start, end = curve.ends(lines)
    allowed = tolerance * scale(start, end)
    assert found.gap.max() <= allowed
    assert np.abs(found.parts.sum(1) - (end - start)).max() <= found.gap.max() + 1e-12  # the bound is a bound
    assert (found.start == start).all() and (found.end == end).all()


def test_refine_asks_for_no_point_twice_and_counts_them():
    curve = smooth()
    found = refine(curve, 1e-8, 4000, 2)
    assert len(curve.seen) == len(set(curve.seen)) == found.points > 40


def test_refine_walks_down_to_a_steep_place_that_a_fixed_rule_misses():
    found = refine(steep(), 1e-3, 400)
    assert found.gap[0] <= 1e-3 * np.pi and found.points < 200
    assert fixed(steep(), steep().ends, "gauss_legendre", 200).gap[0] > 10 * found.gap[0]


def test_refine_stops_at_its_limit_and_says_that_it_is_not_done():
    found = refine(steep(), 1e-9, 60)
    assert found.points <= 60 and found.gap[0] > 1e-9 * np.pi / 2


def test_a_jump_is_not_chased_for_ever_and_stays_a_gap():
    jump = Curve(lambda k, t: t + (t > 0.3), lambda k, t: np.ones_like(t), lambda k, t: np.zeros_like(t))
    found = refine(jump, 0.01, 10_000)
    assert found.points < 150 and found.gap[0] == pytest.approx(1)


def test_a_line_on_which_nothing_moves_is_done_at_once():
    flat = Curve(lambda k, t: np.zeros_like(t), lambda k, t: np.zeros_like(t), lambda k, t: np.zeros_like(t))
    assert refine(flat, 0.01, 500).points == 17


def test_not_a_number_ends_the_refinement_and_stays_visible():
    broken = Curve(lambda k, t: t * np.nan, lambda k, t: t, lambda k, t: t)
    assert np.isnan(refine(broken, 0.01, 500).gap[0])


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.99))
def test_crossing_finds_where_a_square_has_moved_its_share(share):
    assert crossing(lambda t: 3 - 2 * t**2, share) == pytest.approx(np.sqrt(share), abs=1e-4)


def test_crossing_takes_the_first_of_several_and_the_end_when_nothing_moves():
    bump = crossing(lambda t: np.where(t < 0.5, 4 * t, 2 - 2 * t + t), 0.5)
    assert bump == pytest.approx(0.125, abs=1e-3)
    assert crossing(lambda t: np.zeros_like(t), 0.5) == 1.0


def slow_path(start, goal, table, near, steps, strategy):
    """The walk, coordinate by coordinate."""
    stops, words = [list(table[start])], [start]
    for _ in range(steps):
        best, best_cost, best_stop = None, np.inf, None
        for word in sorted(near(words[-1])):
            if word in words:
                continue
            stop, turned = [], 0
            for now, to, anchor in zip(stops[-1], goal, table[word]):
                if min(now, to) <= anchor <= max(now, to):
                    stop.append(anchor)
                else:
                    stop.append(now + (to - now) / steps)
                    turned += 1
            distance = sum((a - b) ** 2 for a, b in zip(stop, table[word])) ** 0.5
            cost = distance if strategy == "greedy" else turned
            if cost < best_cost - 1e-12:
                best, best_cost, best_stop = word, cost, stop
        if best is None:
            stops.append([now + (to - now) / steps for now, to in zip(stops[-1], goal)])
        else:
            words.append(best)
            stops.append(best_stop)
    return np.array([*stops, goal]), words


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from(["greedy", "maxcount"]), st.integers(1, 8))
def test_word_paths_never_turn_back_and_equal_the_slow_twin(seed, steps, strategy, k):
    draw = np.random.default_rng(seed)
    table, goal = draw.normal(size=(20, 4)), draw.normal(size=4)
    near = lambda w: np.argsort(np.linalg.norm(table - table[w], axis=1), kind="stable")[1 : k + 1]  # noqa: E731
    stops, words = word_path(3, goal, table, near, steps, strategy)
    twin, twin_words = slow_path(3, goal, table, near, steps, strategy)
    assert stops.shape == (steps + 2, 4) and np.allclose(stops, twin, atol=1e-12) and words == twin_words
    assert (np.diff(stops, axis=0) * np.sign(goal - table[3]) >= -1e-12).all()
    assert (stops[0] == table[3]).all() and (stops[-1] == goal).all() and len(set(words)) == len(words)


def test_the_two_strategies_differ_where_they_should():
    table = np.array(
        [[0.0, 0, 0], [9.0, 0.5, 0.5], [-0.1, -0.1, 0.5]]
    )  # 1 turns one coordinate far, 2 turns two a little
    goal = np.ones(3)
    everyone = lambda w: np.array([1, 2])  # noqa: E731
    assert word_path(0, goal, table, everyone, 1, "maxcount")[1] == [0, 1]
    assert word_path(0, goal, table, everyone, 10, "greedy")[1][:2] == [0, 2]


def test_monotone_keeps_what_lies_between_and_steps_what_does_not():
    bent, fits = monotone(np.zeros(3), np.array([0.4, -1.0, 3.0]), np.ones(3), 4)
    assert bent.tolist() == [0.4, 0.25, 0.25] and fits.tolist() == [True, False, False]


def test_shares_go_by_length_and_leave_no_piece_out():
    assert shares(np.array([1.0, 0.0, 3.0]), 8).tolist() == [2, 1, 6]
    assert shares(np.zeros(2), 8).tolist() == [1, 1]


def test_refine_is_exact_to_degree_five_without_halving():
    """What Boole's rule is exact for needs no more than the first points; one degree more leaves a gap."""
    for degree, halved in ((5, False), (6, True)):
        power = Curve(
            lambda k, t, n=degree + 1: t**n, lambda k, t, n=degree + 1: n * t ** (n - 1), lambda k, t: 0 * t
        )
        assert (refine(power, 1e-12, 4000).points > 17) == halved
