"""`exegete evaluate --task`: a task with rationales, a folder that holds the whole run, a user's own scores beside."""

import json

import pytest

from exegete.cli.main import dispatch as run
from exegete.core.errors import ExegeteError, StoreError
from exegete.core.store import open_result

FAST = ["--trust", "fast", "--methods", "saliency", "--metrics", "auprc,sufficiency"]


def test_a_task_is_judged_into_a_folder_and_the_same_command_goes_on(tmp_path, capsys):
    out = str(tmp_path / "run")
    args = ["evaluate", "--task", "terrarium", "-n", "3", *FAST, "--out", out]
    assert run(args) == 0
    said = capsys.readouterr()
    assert "3 texts" in said.out
    assert "board.html" in said.err
    table = open_result(tmp_path / "run" / "result.exg")
    assert table.methods == ("saliency", "rationale", "random")
    shards = sorted(p.name for p in (tmp_path / "run" / "shards").iterdir())
    assert shards == ["000000.parquet"]
    for name in ("manifest.json", "result.exg", "shards/000000.parquet"):
        (tmp_path / "run" / name).unlink()
    assert run(args) == 0
    assert (tmp_path / "run" / "shards" / "000000.parquet").exists()
    capsys.readouterr()
    with pytest.raises(StoreError, match="another one"):
        run([*args, "--seed", "1"])


def test_scores_of_a_file_stand_beside_the_methods(tmp_path, capsys):
    rows = [{"text": "the film was dull", "label": "negative", "marks": [[13, 17]]}]
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mine = {
        "text": rows[0]["text"],
        "tokens": ["the", "film", "was", "dull"],
        "scores": [0, 0, 0, 1],
        "method": "mine",
    }
    (tmp_path / "mine.jsonl").write_text(json.dumps(mine))
    args = [
        "evaluate",
        "--task",
        str(tmp_path / "task.jsonl"),
        "--scores",
        str(tmp_path / "mine.jsonl"),
        *FAST,
        "--json",
    ]
    assert run(args) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["methods"] == ["saliency", "mine", "rationale", "random"]
    assert table["trusts"][1]["scores"][0]["value"] == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["some text", "--task", "terrarium"], "one or the other"),
        (["--task", "nowhere.jsonl"], "nowhere.jsonl"),
        ([], "No text was given"),
    ],
)
def test_letters(args, words):
    with pytest.raises(ExegeteError, match=words):
        run(["evaluate", *args, *FAST])
