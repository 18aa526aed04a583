"""A study with people whose behaviour is known. Truth: loops over their files, closed forms, and simulated studies without effect."""

import json

import numpy as np
import pytest

from exegete.cli.main import dispatch
from exegete.core.errors import ExegeteError, InputError, UsageError
from exegete.core.result import Attribution, UnitInfo
from exegete.core.results.human_study import StudyItem
from exegete.core.store import open_result
from exegete.evaluate.simulation.human_study import read_study
from exegete.evaluate.simulation.study_plan import item_of, make_study, read_items
from exegete.show.render import page, terminal
from support.people import drawn, file_of, items

ALL = ("alone", "model", "explained")


def score(found, start):
    return next(s for s in found.trust.scores if s.name.startswith(start))


@pytest.mark.parametrize("conditions", [("model", "explained"), ALL])
@pytest.mark.parametrize("n", [11, 24])
def test_everyone_has_every_condition_alike(conditions, n):
    plan = make_study(items(n, lambda i: i % 4 > 0), conditions, participants=6, seed=5)
    right = np.array([i.model_is_right for i in plan.items])
    k = len(conditions)
    for person in plan.assigned:
        for mine in (person, person[right], person[~right]):
            assert np.ptp(np.bincount(mine, minlength=k)) <= 1
    for first in range(0, 6, k):  # each item once in every condition over as many people
        assert (np.sort(plan.assigned[first : first + k], axis=0) == np.arange(k)[:, None]).all()
    assert all(sorted(o) == list(range(n)) for o in plan.order.tolist())
    assert len({tuple(o) for o in plan.order.tolist()}) == 6
    again, other = (make_study(plan.items, conditions, participants=6, seed=s) for s in (5, 6))
    assert again == plan and again.key == plan.key
    assert other.key != plan.key


def by_hand(plan, files):
    """Everything from the files themselves, cell by cell."""
    rows = [(plan.items[a["item"]], a) for f in files for a in f["answers"]]
    of = {c: [(i, a) for i, a in rows if a["condition"] == c] for c in plan.conditions}
    share = lambda cells: sum(cells) / len(cells)  # noqa: E731
    right = {c: share([a["last"] == i.answer for i, a in of[c]]) for c in of}
    alone = {c: share([a["first"] == i.answer for i, a in of[c]]) for c in of}
    model = {c: share([i.model == i.answer for i, _ in of[c]]) for c in of}
    over = {c: share([a["last"] == i.model for i, a in of[c] if i.model != i.answer]) for c in of}
    under = {c: share([a["last"] != i.model for i, a in of[c] if i.model == i.answer]) for c in of}
    return right, alone, model, over, under


def test_every_number_is_that_of_the_files():
    plan = make_study(items(17, lambda i: i % 3 > 0, ("a", "b", "c")), participants=5, seed=1)
    files = [file_of(plan, p, drawn(0.6, 0.5, 0.8, 0.2)) for p in range(1, 6)]
    found = read_study(plan, files)
    right, alone, model, over, under = by_hand(plan, files)
    for c, name in enumerate(plan.conditions):
        words = found.conditions[c]
        assert found.accuracy[c] == pytest.approx(right[name])
        assert score(found, f"right answers {words}").control == pytest.approx(alone[name])
        assert score(found, f"right answers {words}").chance == pytest.approx(1 / 3)
        gain = right[name] - max(alone[name], model[name])
        assert score(found, f"complementarity {words}").value == pytest.approx(gain)
        assert found.reliance[c].tolist() == pytest.approx([over[name], under[name]])
        assert score(found, f"over-reliance {words}").chance == pytest.approx(1 / 3)
        assert score(found, f"under-reliance {words}").chance == pytest.approx(2 / 3)
    worth = score(found, "what the explanation adds")
    assert worth.value == pytest.approx(right["explained"] - right["model"])
    assert worth.control == pytest.approx(alone["explained"] - alone["model"])
    assert score(found, "over-reliance with answer and").control == pytest.approx(over["model"])
    before = [
        a["first"] == plan.items[a["item"]].model
        for f in files
        for a in f["answers"]
        if a["condition"] == "model" and not plan.items[a["item"]].model_is_right
    ]
    assert score(found, "over-reliance with the model's").control == pytest.approx(np.mean(before))
    assert (worth.n, worth.n_failed) == (85, 0)
    assert np.nanmax(found.seconds) == 3.0


def test_an_explanation_that_tells_when_the_model_is_wrong():
    """Alone 70 %, the model 75 %; without an explanation half is taken over, with it all that is right and nothing that is wrong."""
    plan = make_study(items(80, lambda i: i % 4 > 0), participants=20, seed=2)
    found = read_study(plan, [file_of(plan, p, drawn(0.7, 0.5, 1.0, 0.0)) for p in range(1, 21)])
    want = {"model": 0.75 * (0.5 + 0.5 * 0.7) + 0.25 * 0.5 * 0.7, "explained": 0.75 + 0.25 * 0.7}
    for c, name in enumerate(plan.conditions):
        low, high = found.interval[c]
        assert low < want[name] < high
    worth, together = (
        score(found, "what the explanation adds"),
        score(found, "complementarity with answer and"),
    )
    assert worth.beats_chance and worth.beats_control
    assert together.beats_chance and together.beats_control
    assert abs(together.value - (want["explained"] - 0.75)) < 0.04
    assert score(found, "over-reliance with answer and").beats_control
    assert "more often with it" in found.lede and "they beat the better one" in found.lede


def test_people_who_always_follow_are_no_team():
    plan = make_study(items(20, lambda i: i % 4 > 0), participants=8, seed=2)
    found = read_study(plan, [file_of(plan, p, drawn(0.7, 1.0)) for p in range(1, 9)])
    assert found.reliance.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    for words in found.conditions:
        together = score(found, f"complementarity {words}")
        assert together.value <= 0
        assert not together.beats_chance
    assert score(found, "what the explanation adds").value == pytest.approx(0, abs=0.1)
    assert "do not beat" in found.lede


def test_an_explanation_that_does_nothing_is_rarely_found_to_do_something():
    plan = make_study(items(20, lambda i: i % 4 > 0), participants=10, seed=3)
    told = []
    for k in range(40):
        found = read_study(plan, [file_of(plan, p, drawn(0.7, 0.6), seed=k) for p in range(1, 11)], seed=k)
        low, high = score(found, "what the explanation adds").interval
        told.append(low > 0 or high < 0)
    assert np.mean(told) <= 0.1


def test_two_people_who_agree_are_no_proof():
    """Both always follow a model that is always right: two of two, not all people."""
    plan = make_study(items(6, lambda i: True), participants=2)
    found = read_study(plan, [file_of(plan, p, drawn(0.0, 0.0, 1.0)) for p in (1, 2)])
    right = score(found, "right answers with answer and")
    assert right.value == 1.0
    assert right.interval == pytest.approx((0.025**0.5, 1.0)) == tuple(found.interval[1])
    worth = score(found, "what the explanation adds")
    assert worth.value == 1.0 and not worth.beats_chance  # everyone gains, in one of two runs of a coin
    assert "not told apart" in found.lede


def test_what_people_knew_before_is_taken_from_what_the_explanation_adds():
    """Who is right at first stays so: explained items are the easier ones, and nothing is gained by them."""
    plan = make_study(items(24, lambda i: i % 2 > 0), participants=8, seed=4)

    def easy(item, condition, rng):
        said = item.answer if condition == "explained" or rng.random() < 0.3 else item.options[0]
        return said, said

    found = read_study(plan, [file_of(plan, p, easy) for p in range(1, 9)])
    worth = score(found, "what the explanation adds")
    assert worth.beats_chance and worth.value == pytest.approx(worth.control)
    assert worth.over_control[0] <= 0 <= worth.over_control[1] and not worth.beats_control
    assert "not told apart" in found.lede


def test_who_answers_once_and_never_alone_leaves_no_bar():
    plan = make_study(items(8, lambda i: i % 2 > 0), participants=2, ask_first=False)
    found = read_study(plan, [file_of(plan, p, drawn(0.7, 0.6)) for p in (1, 2)])
    together = score(found, "complementarity")
    assert together.skipped and np.isnan(together.value) and together.n_failed > together.n == 0
    assert score(found, "what the explanation adds").control is None
    bar = make_study(items(9, lambda i: i % 2 > 0), ALL, participants=3, ask_first=False)
    files = [file_of(bar, p, drawn(0.7, 0.6)) for p in (1, 2, 3)]
    said = [(bar.items[a["item"]], a) for f in files for a in f["answers"] if a["condition"] == "alone"]
    alone = np.mean([a["last"] == i.answer for i, a in said])
    assert score(read_study(bar, files), "right answers with the model's").control == pytest.approx(alone)


def test_what_does_not_count_is_counted_and_listed(tmp_path):
    plan = make_study(items(6, lambda i: i % 2 > 0), participants=5)
    good, *bad = (file_of(plan, p, drawn(0.7, 0.6)) for p in (1, 2, 3, 4))
    rows = bad[0]["answers"]
    rows[0]["last"] = "<b>maybe</b>"
    rows[1]["condition"] = "alone"
    rows[2].pop("first")
    rows.append(dict(rows[3]))
    rows.append({"item": 99, "condition": "model", "last": "yes"})
    rows.pop(5)
    rows[4]["reloaded"] = True
    bad[1]["study"] = "another"
    (tmp_path / "broken.json").write_text('{"study": ')
    (tmp_path / "good.json").write_text(json.dumps(good))
    sources = [tmp_path / "good.json", *bad[:2], good, tmp_path / "broken.json", {"answers": 3}]
    found = read_study(plan, sources)
    assert int((found.given >= 0).sum()) == 6 + 1
    listed = " | ".join(found.failures)
    for words in (
        "maybe",
        "'alone', where",
        "None",
        "more than once",
        "not in the plan (99)",
        "not answered",
    ):
        assert words in listed, words
    for words in ("another plan", "read before", "not JSON", "no file of answers"):
        assert words in listed, words
    counted = [score(found, f"right answers {c}") for c in found.conditions]
    assert sum(s.n for s in counted) == 7
    assert sum(s.n_failed for s in counted) == 5 + 4 * 6  # five of one person, four files of six
    assert np.isnan(found.seconds[1][found.given[1] >= 0]).all()  # the page was loaded again
    assert len(found.figures()) == 3


def test_nothing_usable_is_refused(tmp_path):
    plan = make_study(items(4, lambda i: i % 2 > 0), participants=2)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match="no file of answers"):
        read_study(plan, [tmp_path / "x.json"])
    with pytest.raises(InputError, match="no file was given"):
        read_study(plan, [])
    one = read_study(plan, [file_of(plan, 1, drawn(0.7, 0.6))])
    assert "One person" in one.notes[0]


def test_plans_that_cannot_be_made():
    some = items(4, lambda i: True)
    for conditions in (("model",), ("model", "model")):
        with pytest.raises(UsageError, match="difference"):
            make_study(some, conditions)
    with pytest.raises(UsageError, match="no condition"):
        make_study(some, ("model", "explaned"))
    with pytest.raises(UsageError, match="Nobody"):
        make_study(some, participants=0)
    with pytest.raises(InputError, match="each needs one"):
        make_study(some[:1])
    with pytest.raises(InputError, match="equal"):
        make_study([*some, some[0]])
    with pytest.raises(InputError, match="no explanation"):
        make_study([s.model_copy(update={"explanation": ""}) for s in some])
    with pytest.raises(InputError, match="none of its options"):
        StudyItem(text="a", options=("x", "y"), answer="z", model="x")
    with pytest.raises(InputError, match="no numbers"):
        StudyItem(text="a", options=("x", "y"), answer="x", model="x", words=(("a", float("nan")),))


def explained():
    """Two words of "ab cd." with scores."""
    units = (UnitInfo(text="ab", start=0, end=2), UnitInfo(text="cd", start=3, end=5))
    two = np.array([0.5, -2.0])
    return Attribution(
        text="ab cd.", units=units, level="word", outputs=("p",), scores=two[None], total=two, target="p", scale="logit",
        value=1.0, prediction={"p": 0.7, "n": 0.3}, predicted="p",
    )  # fmt: skip


def test_items_from_files_and_saved_explanations(tmp_path):
    explained().save(tmp_path / "r.exg")
    rows = [
        {"explained": "r.exg", "answer": "n"},
        {"text": "t", "options": ["x", "y"], "answer": "x", "model": "y", "explanation": "so"},
    ]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    one, two = read_items(tmp_path / "items.jsonl")
    assert one == item_of(explained(), "n")
    assert one.words == (("ab", 0.5), (" ", 0.0), ("cd", -2.0), (".", 0.0))
    assert (one.options, one.model, one.model_is_right) == (("n", "p"), "p", False)
    assert two.explanation == "so"
    (tmp_path / "bad.jsonl").write_text('{"text": "t", "options": ["x"], "answer": "x", "model": "x"}')
    with pytest.raises(InputError, match="Line 1"):
        read_items(tmp_path / "bad.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"text": "t", "nothing": 1}')
    with pytest.raises(InputError, match="Line 1"):
        read_items(tmp_path / "bad.jsonl")


def test_saved_opened_equal_and_drawn(tmp_path):
    plan = make_study(items(6, lambda i: i % 2 > 0), participants=3)
    found = read_study(plan, [file_of(plan, p, drawn(0.7, 0.6)) for p in (1, 2, 3)])
    for r in (plan, found):
        assert open_result(r.save(tmp_path / "r.exg")) == r
        assert "<html" in page(r)
        terminal(r)


def test_the_page_does_not_hold_the_right_answers():
    some = items(6, lambda i: i % 2 > 0)
    turned = [
        s.model_copy(update={"answer": s.options[1 - s.options.index(s.answer)]}) for s in some
    ]  # dealt alike: right and wrong change places
    a, b = (make_study(x, participants=2) for x in (some, turned))
    b = b.model_copy(update={"assigned": a.assigned, "order": a.order})
    assert a.key != b.key
    assert page(a).replace(a.key, "") == page(b).replace(b.key, "")


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [i.model_dump(exclude={"words"}) for i in items(6, lambda i: i % 2 > 0)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert (
        dispatch(
            ["study", "make", "items.jsonl", "--html", "s.html", "--out", "s.exg", "--participants", "2"]
        )
        == 0
    )
    plan = open_result("s.exg")
    assert (tmp_path / "s.html").read_text() == page(plan)
    for p in (1, 2):
        (tmp_path / f"a{p}.json").write_text(json.dumps(file_of(plan, p, drawn(0.7, 0.6))))
    capsys.readouterr()
    assert dispatch(["study", "read", "s.exg", "a1.json", "a2.json", "--json", "--out", "r.exg"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["type"] == "HumanStudy"
    assert open_result("r.exg").trust.scores[0].value == told["trust"]["scores"][0]["value"]
    with pytest.raises(UsageError, match="HumanStudy"):
        dispatch(["study", "read", "r.exg", "a1.json"])
    with pytest.raises(ExegeteError, match="no condition"):
        dispatch(
            ["study", "make", "items.jsonl", "--html", "s.html", "--out", "s.exg", "--conditions", "x,model"]
        )
    assert dispatch(["study"]) == 2
