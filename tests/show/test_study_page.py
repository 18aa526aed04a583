"""The page of a study in a real browser: a person answers by keys, a reload loses nothing, hostile text does nothing."""

import json
import re

import numpy as np
import pytest

from exegete.core.results.human_study import StudyItem, StudyPlan
from exegete.show.render import page
from show.show_samples import NASTY
from show.test_browser import BROWSER, run
from show.test_page import Elements

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium on this machine: pages are not tried in a browser"
)

# a person answers by keys alone: the first option before, the second after; `seen` gets what stands on the page at each step
KEYS = """
const find = (n) => document.querySelector('[data-' + n + ']');
const key = (k) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true, cancelable: true}));
const look = () => [find('text').textContent, find('told').hidden ? '' : find('model').textContent,
  find('why').hidden ? '' : find('explanation').textContent, find('text').querySelectorAll('.u').length, find('next').disabled].join('/');
const begin = (who) => { find('who').value = who; find('who').focus(); key('Enter'); };
const answer = (k) => { key(k); key('Enter'); };
"""


def plan(n=4, ask_first=True, conditions=("model", "explained"), text="text {}"):
    """Items in order, conditions in turn; two participants, the second the other way round."""
    items = tuple(
        StudyItem(
            text=text.format(i), options=("no", "yes"), answer="yes", model="no", explanation=f"why {i}",
            words=((text.format(i)[:2], 1.0), (text.format(i)[2:], -0.5)),
        )
        for i in range(n)
    )  # fmt: skip
    base = np.arange(n) % len(conditions)
    assigned = np.stack([base, (base + 1) % len(conditions)])
    order = np.stack([np.arange(n), np.arange(n)[::-1]])
    return StudyPlan(
        title="A study", intro="Read.", items=items, conditions=conditions, ask_first=ask_first, assigned=assigned, order=order
    )  # fmt: skip


@needs_browser
def test_a_person_answers_by_keys_and_hands_in_what_was_said(tmp_path):
    p = plan()
    script = (
        KEYS
        + """
    begin('2'); while (find('end-of-study').hidden) { seen.push(look()); answer(find('told').hidden ? '1' : '2'); }
    URL.createObjectURL = (b) => { seen.push(b.type + b.size); return 'blob:x'; };
    HTMLAnchorElement.prototype.click = function () { seen.push(this.download); };
    find('save').click(); seen.push(find('copy').value);
    """
    )
    *steps, saved, name, handed = run(tmp_path, page(p), script)
    assert steps[:4] == [
        "text 3///0/true",
        "text 3/no//0/true",
        "text 2///0/true",
        "text 2/no/why 2/2/true",
    ]
    assert len(steps) == 8
    assert (saved, name) == (f"application/json{len(handed)}", f"answers-{p.key}-2.json")
    told = json.loads(handed)
    assert (told["study"], told["participant"]) == (p.key, 2)
    assert [a["item"] for a in told["answers"]] == [3, 2, 1, 0]
    assert [a["condition"] for a in told["answers"]] == ["model", "explained"] * 2
    assert all((a["first"], a["last"]) == ("no", "yes") for a in told["answers"])
    assert all(a["first_seconds"] >= 0 and a["last_seconds"] >= 0 for a in told["answers"])


@needs_browser
def test_asked_once_or_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    once = run(
        tmp_path / "a",
        page(plan(2, ask_first=False)),
        KEYS
        + "begin('1'); seen.push(look()); answer('2'); seen.push(look()); answer('1'); seen.push(find('copy').value);",
    )
    assert once[:2] == ["text 0/no//0/true", "text 1/no/why 1/2/true"]
    assert [(a.get("first"), a["last"]) for a in json.loads(once[2])["answers"]] == [
        (None, "yes"),
        (None, "no"),
    ]
    p = plan(2, conditions=("alone", "explained"))
    alone = run(
        tmp_path / "b",
        page(p),
        KEYS
        + "begin('1'); for (let i = 0; i < 3; i++) { seen.push(look()); answer('2'); } seen.push(find('copy').value)",
    )
    assert alone[:3] == ["text 0///0/true", "text 1///0/true", "text 1/no/why 1/2/true"]
    assert "first" not in json.loads(alone[3])["answers"][0]


@needs_browser
def test_a_reload_loses_nothing(tmp_path):
    """Three steps, a reload, and the rest: the answers before it are there, and the one in its middle says so."""
    script = (
        KEYS
        + """
    if (!sessionStorage.getItem('again')) {
      sessionStorage.setItem('again', '1'); begin('1'); for (let i = 0; i < 3; i++) answer('2'); location.reload();
    } else {
      seen.push(look()); while (find('end-of-study').hidden) answer('1'); seen.push(find('copy').value);
      find('again').click(); seen.push(find('start').hidden); begin('1'); seen.push(find('end-of-study').hidden);
      find('again').click(); begin('2'); seen.push(look());
    }"""
    )
    there, handed, start, done, other = run(tmp_path, page(plan()), script)
    assert there == "text 1/no/why 1/2/true"
    rows = json.loads(handed)["answers"]
    assert [(a["first"], a["last"]) for a in rows] == [
        ("yes", "yes"),
        ("yes", "no"),
        ("no", "no"),
        ("no", "no"),
    ]
    assert [a.get("reloaded", False) for a in rows] == [False, True, False, False]
    assert (start, done) == ("false", "false")  # who has answered everything comes back to the end
    assert other == "text 3///0/true"


@needs_browser
def test_numbers_that_nobody_has_and_keys_that_choose_nothing(tmp_path):
    script = (
        KEYS
        + """
    for (const who of ['', '0', '3', '1.5']) { begin(who); seen.push(find('start').hidden + find('said').textContent); }
    begin('1'); answer('7'); seen.push(look()); key('Enter'); seen.push(look());
    """
    )
    *wrong, a, b = run(tmp_path, page(plan()), script)
    assert wrong == ["falseGive a whole number from 1 to 2."] * 4
    assert a == b == "text 0///0/true"


@needs_browser
def test_hostile_text_does_nothing(tmp_path):
    item = StudyItem(
        text=NASTY, options=(NASTY, "b"), answer="b", model=NASTY, explanation=NASTY, question=NASTY, words=((NASTY, 1.0),)
    )  # fmt: skip
    p = plan().model_copy(update={"items": (item,) * 4, "title": NASTY, "intro": NASTY})
    script = (
        KEYS
        + """
    begin('1'); answer('1'); answer('1'); answer('1'); seen.push(look()); answer('1');
    seen.push(document.images.length); seen.push(typeof alerted);
    """
    )
    html = page(p).replace("alert(1)", "alerted=1")
    seen = run(tmp_path, html, script)
    assert seen[0].count("<img") == 3
    assert seen[1:] == ["0", "undefined"]


def test_the_page_stands_alone_and_is_named():
    html = page(plan(text=NASTY + "{}"))
    found = Elements(html)
    assert not re.search(
        r"https?:|//cdn|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", html
    )
    assert not [a for _, a in found.all if "src" in a or (a.get("href") or "#")[0] != "#"]
    assert not [t for t, _ in found.all if t in ("img", "link", "iframe", "object", "form", "base")]
    assert not [a for _, a in found.all if any(k.startswith("on") for k in a)]
    assert {tag for tag, _ in found.all} >= {"fieldset", "legend", "label", "noscript"}
    assert len([t for t, _ in found.all if t == "h1"]) == 1
    data = json.loads(next(s for s in found.scripts if s.startswith("{")))
    assert data["items"][0].keys() == {
        "text",
        "question",
        "options",
        "values",
        "model",
        "explanation",
        "words",
    }
    assert np.array_equal(data["assigned"], plan().assigned)
