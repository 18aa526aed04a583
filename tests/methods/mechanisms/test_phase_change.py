"""The phase change of the attention-only model, and runs in which there is none."""

import shutil

import numpy as np
import pytest

from exegete.core.embedded import embedded_path
from exegete.core.errors import InputError
from exegete.methods.mechanisms.induction_heads import InductionHeadsStudy
from exegete.methods.mechanisms.phase_change import PhaseChangeStudy
from exegete.models.load import load
from exegete.models.series import checkpoints, spread
from exegete.ops.phase import together, window

FEW = {"n_repeats": 8, "repeat_length": 25}


@pytest.fixture(scope="module")
def model():
    return load("terrarium/repeats")


@pytest.fixture(scope="module")
def found(model):
    return PhaseChangeStudy(**FEW)(model)


def test_heads_and_in_context_learning_come_in_the_same_window(found):
    before, after = found.steps <= 300, found.steps >= 500
    assert found.prefix[before].max() < 0.1
    assert found.prefix[after].min() > 0.7
    assert found.learned[before].min() > -1.5  # words said before are likelier, whatever their order
    assert found.learned[after].max() < -4
    assert all(300 <= start < stop <= 700 for _, start, stop in found.windows)
    formed, joint = found.trust.scores
    assert formed.beats_control
    assert joint.beats_chance
    assert joint.beats_control
    assert "at the same time" in found.lede
    assert "NOT" not in found.lede


def test_it_is_no_fall_of_the_loss_in_general(found):
    """The first saying is as hard at the end as before the change."""
    assert abs(found.first_loss[-1] - found.first_loss[4]) < 0.5


def test_the_previous_token_head_is_ahead(found):
    """Within the change it has come further on its way: induction needs it first."""
    within = (found.steps > 300) & (found.steps < 500)
    ahead = found.previous / found.previous[-1] - found.prefix / found.prefix[-1]
    assert ahead[within].min() > 0.05


def test_the_last_point_is_the_model_itself(found, model):
    alone = InductionHeadsStudy(n_random=1, **FEW)(model)
    assert found.prefix[-1] == pytest.approx(alone.trust.scores[0].value)
    assert found.learned[-1] == pytest.approx(alone.trust.scores[1].value)


def test_a_run_cut_before_the_change_shows_none(model, tmp_path):
    """The companion: the same study on the first checkpoints alone."""
    for step, path in checkpoints("terrarium/repeats")[:4]:
        shutil.copytree(path, tmp_path / f"checkpoint-{step}")
    r = PhaseChangeStudy(folder=str(tmp_path), **FEW)(model)
    assert list(r.steps) == [0, 100, 200, 250]
    assert "No induction head forms" in r.lede
    assert not r.trust.scores[0].beats_control


def test_checkpoints_are_found_in_order(tmp_path):
    root = embedded_path("terrarium/repeats")
    assert root is not None
    assert [s for s, _ in checkpoints(str(root))] == [s for s, _ in checkpoints("terrarium/repeats")]
    for name in ("checkpoint-1000", "checkpoint-20", "notes-3", "final"):
        (tmp_path / name).mkdir()
        if name != "notes-3":
            (tmp_path / name / "config.json").write_text("{}")
    assert [s for s, _ in checkpoints(str(tmp_path))] == [20, 1000]
    with pytest.raises(InputError, match="runs/mine"):
        checkpoints("terrarium/decoder")


def test_a_spread_keeps_both_ends():
    run = checkpoints("terrarium/repeats")
    assert spread(run, 99) == run
    assert [s for s, _ in spread(run, 3)] == [0, 350, 1500]


def test_window_is_the_shortest_stretch_by_brute_force():
    draw = np.random.default_rng(0)
    for _ in range(50):
        x = draw.normal(size=7).cumsum()
        start, stop = window(x)
        good = [(j - i, i, j) for i in range(7) for j in range(i + 1, 7) if x[j] - x[i] >= 0.8 * np.ptp(x)]
        assert (start, stop) == (min(good)[1:] if good else (0, 6))
    assert window(np.array([0, 0, 0, 1, 1.0])) == (2, 3)
    assert window(np.zeros(4)) == (0, 3)


def test_curves_that_step_together_stand_out_and_others_do_not():
    draw = np.random.default_rng(1)
    step = np.r_[np.zeros(6), np.ones(6)]
    late = np.r_[np.zeros(9), np.ones(3)]
    value, chance = together(step, 3 * step + 1, draw)
    assert value == pytest.approx(1)
    assert (chance < 0.99).mean() > 0.85
    assert together(step, late, draw)[0] < 0
    assert together(step, np.zeros(12), draw)[0] == 0
