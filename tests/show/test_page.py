"""The page: self-contained, small, escaped, reachable by keyboard. Truth: an HTML parser that knows nothing of the templates."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from exegete.core.result import UnitInfo
from exegete.show.render import json_block, notebook, page
from show.show_samples import NASTY, attribution, comparison, every_result, listing, metric_table

OUTPUTS = tuple(f" t{i}" for i in range(64))


class Elements(HTMLParser):
    """All elements with their attributes, and the text of each script."""

    def __init__(self, html):
        super().__init__()
        self.all, self.scripts, self.text, self._in = [], [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        (self.scripts if self._in == "script" else self.text).append(data)

    def having(self, **wanted):
        return [a for _, a in self.all if all(a.get(k.replace("_", "-")) == v for k, v in wanted.items())]


def nasty():
    """An attribution with markup in every text a user or a tokenizer can put there."""
    unit = UnitInfo(text=NASTY, start=0, end=len(NASTY), tokens=(1,), segment=NASTY)
    one = attribution(
        "x", units=(unit, unit.model_copy(update={"start": -1, "end": -1, "role": "prefix"})), scores=np.ones((2, 2)),
        total=np.ones(2), outputs=(NASTY, NASTY), target=NASTY, against=NASTY, predicted=NASTY, prediction={NASTY: 0.9},
        notes=(NASTY,), level="word",
    )  # fmt: skip
    return one.model_copy(
        update={
            "text": NASTY,
            "provenance": one.provenance.model_copy(
                update={"model": NASTY, "method": NASTY, "params": {NASTY: NASTY}}
            ),
        }
    )


def nasty_results():
    c = comparison()
    return [
        nasty(),
        c.model_copy(update={"methods": (NASTY,) * 3, "attributions": (nasty(),) * 3, "text": NASTY}),
        metric_table().model_copy(
            update={"methods": (NASTY, NASTY), "metrics": (NASTY, NASTY), "failures": (NASTY,)}
        ),
        listing().model_copy(
            update={"title": NASTY, "rows": ((NASTY,) * 3,), "columns": (NASTY,) * 3, "footer": NASTY}
        ),
    ]


@pytest.mark.parametrize("result", nasty_results(), ids=lambda r: r.type)
@pytest.mark.parametrize("draw", [page, notebook], ids=["page", "notebook"])
def test_text_stays_text(result, draw):
    html = draw(result)
    found = Elements(html)
    assert not [tag for tag, _ in found.all if tag == "img"]
    assert not [a for _, a in found.all if any(k.startswith("on") for k in a)]
    assert "<img" not in html
    assert any("<img src=x onerror=alert(1)>" in t for t in found.text)


def test_the_escaping_test_can_fail():
    assert [tag for tag, _ in Elements(f"<p>{NASTY}</p>").all if tag == "img"]


def test_json_blocks_cannot_end_their_element():
    block = json_block({"a": NASTY, "b": "\u2028&"})
    assert not set("<>&\u2028") & set(block)
    assert json.loads(block) == {"a": NASTY, "b": "\u2028&"}


@pytest.mark.parametrize("result", every_result(), ids=lambda r: r.type)
def test_a_page_asks_the_network_for_nothing(result):
    html = page(result)
    found = Elements(html)
    assert not re.search(
        r"https?:|//cdn|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", html
    )
    assert not [a for _, a in found.all if "src" in a or (a.get("href") or "#")[0] != "#"]
    assert not [tag for tag, _ in found.all if tag in ("link", "iframe", "object", "form", "base")]
    policy = found.having(http_equiv="Content-Security-Policy")[0]["content"]
    assert (
        policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )


def test_sizes():
    assert len(page(attribution()).encode()) < 60_000
    big = attribution(" ".join(f"word{i}" for i in range(512)), outputs=OUTPUTS, sampled=True)
    assert len(page(big).encode()) < 1_500_000
    empty_shell = len(page(listing()).encode())
    assert empty_shell < 300_000


def test_units_are_reachable_and_named():
    a = attribution(sampled=True)
    found = Elements(page(a))
    options = found.having(role="option")
    assert len(options) == len(a.units)
    assert [o["tabindex"] for o in options] == [
        "0",
        *["-1"] * (len(a.units) - 1),
    ]  # one tab stop, then arrows
    for o, unit in zip(options, a.units):
        assert o["aria-label"].startswith(f"{unit.text}: ") and "standard error" in o["aria-label"]
    assert found.having(role="listbox")[0]["aria-label"]
    assert found.having(role="status", aria_live="polite")
    assert found.having(lang="en")
    headings = [tag for tag, _ in found.all if tag in ("h1", "h2")]
    assert headings[0] == "h1" and headings.count("h1") == 1


def test_ids_are_unique_also_with_several_results():
    found = Elements(page(*every_result(), attribution(seed=4)))
    ids = [a["id"] for _, a in found.all if "id" in a]
    assert len(ids) == len(set(ids))
    labelled = [a["aria-labelledby"] for _, a in found.all if "aria-labelledby" in a]
    assert labelled and set(labelled) <= set(ids)


def test_two_notebook_cells_do_not_share_ids():
    cells = [{a["id"] for _, a in Elements(notebook(attribution())).all if "id" in a} for _ in range(2)]
    assert not cells[0] & cells[1]


def test_a_page_is_the_same_every_time():
    assert page(attribution()) == page(attribution())


def test_outputs_can_be_chosen_and_data_is_there():
    a = attribution(
        "one two three", outputs=("alpha", "beta"), available=np.array([[True, False, False], [True] * 3])
    )
    found = Elements(page(a))
    assert [o["value"] for o in found.having(type="radio")] == ["-1", "0", "1"]
    data = json.loads(next(s for s in found.scripts if s.startswith("{")))
    assert data["rows"][0][1:] == [None, None]
    assert data["rows"][1] == pytest.approx(a.scores[1], rel=1e-3)
    assert data["total"] == pytest.approx(a.total, rel=1e-3)
    assert not Elements(page(attribution())).having(type="radio")


def test_failed_checks_and_trust_are_on_the_page_in_order():
    html = page(attribution(fail=True))
    body = html[html.index("<main") :]
    assert body.index("1 check failed") < body.index("How far to trust it.") < body.index('role="listbox"')
    for words in (
        "0.550 to 0.660",
        "does NOT beat randomised weights",
        "percentile",
        "34 forwards",
        "n_steps",
    ):
        assert words in body


def test_light_and_dark_follow_the_reader():
    html = page(attribution())
    assert "prefers-color-scheme: dark" in html and 'content="light dark"' in html


def test_what_beats_its_control_is_marked():
    html = page(metric_table())
    assert '<th scope="row" class="beats">integrated gradients' in html
    assert '<th scope="row" class="beats">lime' not in html
    assert 'class="cell-fail">FAIL' in page(listing(False))
