"""`exegete features train | show | write`: the first word says which, and everything else is the verb of studies."""

import pytest

from exegete.cli.main import dispatch
from exegete.core.errors import UsageError
from exegete.core.results.feature_show import FeatureShow
from exegete.core.results.features import SparseFeatures
from exegete.core.sparse import read_dictionary
from exegete.core.store import open_result


def test_train_show_and_write(tmp_path, capsys):
    corpus, made, shown = tmp_path / "corpus.txt", str(tmp_path / "d.exg"), str(tmp_path / "s.exg")
    lines = [
        f"the {a} {b} the {c} ."
        for a in ("dog", "owl", "fox")
        for b in ("saw", "met")
        for c in ("cat", "man")
    ]
    corpus.write_text("\n".join(lines))
    flags = ["--n-steps", "5", "--width", "0.5", "--k", "4", "--batch", "32", "--n-held-out", "4"]
    assert dispatch(["features", "train", str(corpus), *flags, "--site", "2.resid_post", "--out", made]) == 0
    found = open_result(made)
    assert isinstance(found, SparseFeatures)
    assert found.dictionary.site == "2.resid_post"
    assert found.dictionary.encoder.shape == (128, 64)
    few = ["--n-ascent", "2", "--n-draws", "2"]
    assert dispatch(["features", "show", made, str(corpus), *few, "--out", shown]) == 0
    show = open_result(shown)
    assert isinstance(show, FeatureShow)
    assert show.site == "2.resid_post"
    assert dispatch(["features", "write", made, str(tmp_path / "sae")]) == 0
    assert read_dictionary(tmp_path / "sae") == found.dictionary
    again = str(tmp_path / "again.exg")
    assert dispatch(["features", "show", str(tmp_path / "sae"), str(corpus), "--feature", str(show.feature), *few, "--out", again]) == 0  # fmt: skip
    assert open_result(again).values == show.values


def test_what_is_missing_gets_a_letter(tmp_path):
    with pytest.raises(UsageError, match="No dictionary was named"):
        dispatch(["features", "show"])
    with pytest.raises(UsageError, match="a file and a folder"):
        dispatch(["features", "write", "x.exg"])
