"""A suite in a folder is a run: cut short it goes on where it stopped, with the same numbers; another plan is refused."""

import numpy as np
import pytest

from exegete.core.errors import ExegeteError, StoreError
from exegete.core.target import Target
from exegete.evaluate.suite import evaluate
from exegete.methods.attribution.occlusion import Occlusion
from exegete.models.load import load
from exegete.models.tiny import tiny

TEXTS = [f"a fine day at the lake number {i}" for i in range(4)] + [
    "we can do this and more than that today"
] * 2


class Counted(Occlusion):
    """Counts the texts it explains; stops the whole program on the fifth one while `broken`."""

    id = "counted"

    def attribute(self, q, units):
        SEEN.append(q.encoded.text)
        if BROKEN and len(SEEN) == 5:
            raise KeyboardInterrupt
        return super().attribute(q, units)


SEEN: list[str] = []
BROKEN: list[bool] = []


@pytest.fixture(autouse=True)
def _fresh():
    SEEN.clear()
    BROKEN.clear()


def run(folder=None, **how):
    how = {"target": Target(label=0), "trust": "fast", "n_random": 8} | how
    metrics = ["comprehensiveness", "violation"]
    return evaluate(
        load(tiny("bert", "sequence")), how.pop("texts", TEXTS), [Counted()], metrics, folder=folder, **how
    )


def test_a_run_goes_on_where_it_stopped_with_the_same_numbers(tmp_path):
    whole = run()
    SEEN.clear()
    BROKEN.append(True)
    with pytest.raises(KeyboardInterrupt):
        run(str(tmp_path))
    assert [f.name for f in (tmp_path / "shards").iterdir()] == ["000000.parquet"]
    BROKEN.clear()
    SEEN.clear()
    table = run(str(tmp_path))
    assert len(SEEN) == 2  # the four of the first shard are not explained again
    np.testing.assert_array_equal(table.values, whole.values)
    same = [[s.model_dump() for s in t.scores] for t in table.trusts]
    assert same == [[s.model_dump() for s in t.scores] for t in whole.trusts]
    assert table.trusts[0].cost.forwards == whole.trusts[0].cost.forwards
    SEEN.clear()
    run(str(tmp_path))
    assert SEEN == []


@pytest.mark.parametrize(
    "other", [{"texts": TEXTS[:3]}, {"seed": 1}, {"n_random": 9}, {"target": Target(label=1)}]
)
def test_the_folder_of_another_plan_is_refused_with_the_difference(tmp_path, other):
    run(str(tmp_path))
    with pytest.raises(StoreError, match="another one") as e:
        run(str(tmp_path), **other)
    assert " there, " in str(e.value)


def test_where_nothing_could_be_explained_the_reason_is_raised(tmp_path):
    for folder in (None, str(tmp_path)):
        with pytest.raises(ExegeteError, match="nonsense"):
            run(folder, target=Target(label="nonsense"))
