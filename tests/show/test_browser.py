"""The page in a real browser: its script runs, keys move, outputs repaint, hostile text does nothing."""

import html as escapes
import re
import shutil
import subprocess

import numpy as np
import pytest

from exegete.show.render import page
from show.show_samples import attribution
from show.test_page import nasty

BROWSER = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium on this machine: pages are not tried in a browser"
)


def run(tmp_path, html, script):
    """The page after `script`, which writes what it saw into `seen`; returns the seen lines."""
    probe = f"<script>addEventListener('load', () => {{ const seen = []; {script}; document.title = seen.join('¦'); }})</script>"
    file = tmp_path / "page.html"
    file.write_text(html.replace("</body>", probe + "</body>"), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--virtual-time-budget=2000",
    ]
    done = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title, done.stderr[-500:]
    return escapes.unescape(title[1]).split("¦")


KEYS = """
const us = [...document.querySelectorAll('.u')], key = (k) => document.activeElement.dispatchEvent(
  new KeyboardEvent('keydown', {key: k, bubbles: true, cancelable: true}));
const say = () => seen.push(document.activeElement.textContent + '/' + document.activeElement.getAttribute('aria-selected'));
us[0].focus(); say(); key('ArrowRight'); say(); key('End'); say(); key('ArrowRight'); say(); key('Home'); say();
seen.push(document.querySelectorAll('.u[tabindex="0"]').length);
seen.push(document.querySelector('.detail').textContent);
"""


def test_arrow_keys_move_and_tell(tmp_path):
    seen = run(tmp_path, page(attribution("one two three", total=np.array([2.0, -1.0, 1.0]))), KEYS)
    assert seen[:5] == ["one/true", "two/true", "three/true", "three/true", "one/true"]
    assert seen[5] == "1"
    assert seen[6] == "one  +2.00 · 1st of 3 · 50 % of all |score| · token 1, characters 0 to 3"


def test_choosing_an_output_repaints(tmp_path):
    scores = np.array([[2.0, 0, 0], [-1.0, 0.5, 0.25]])
    a = attribution(
        "one two three", outputs=("alpha", "beta"), scores=scores, total=scores.sum(0),
        available=np.array([[True, False, False], [True] * 3]),
    )  # fmt: skip
    script = """
    const look = () => seen.push([...document.querySelectorAll('.u')].map((u) => u.className + u.dataset.tip).join(';'));
    look();
    for (const v of ['0', '1']) { document.querySelector(`input[value="${v}"]`).click(); look(); }
    seen.push(document.querySelector('[data-end]').textContent);
    const c = document.querySelector('canvas'); seen.push(c.width > 100 && c.height > 40);
    """
    seen = run(tmp_path, page(a), script)
    assert seen[0] == "u pos+1.00;u pos+0.50;u pos+0.25"
    assert seen[1] == "u pos+2.00;u offnot read yet;u offnot read yet"
    assert seen[2] == "u neg\u22121.00;u pos+0.50;u pos+0.25"
    assert seen[3:] == ["1.00", "true"]


def test_script_and_template_agree(tmp_path):
    """Painted by the template (no script) and by the script, a page shows the same numbers and bars."""
    html = page(attribution(sampled=True))
    look = """seen.push([...document.querySelectorAll('.bars li')].map((r) => r.textContent.trim() + ' ' + ['--l', '--w'].map(
      (p) => Number(r.querySelector('.bar').style.getPropertyValue(p)).toFixed(3)).join(' ')).join(';'));
      seen.push([...document.querySelectorAll('.u')].map((u) => u.getAttribute('aria-label').replaceAll('\\u2212', '-')).join(';'));
      seen.push([...document.querySelectorAll('[data-end]')].map((u) => u.textContent).join(';'))"""
    still = re.sub(r"<script>\n\(.*?</script>", "", html, flags=re.S)
    assert still != html
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    moved, painted = run(tmp_path / "a", html, look), run(tmp_path / "b", still, look)
    assert moved[1:] == painted[1:]
    for a, b in zip(moved[0].split(";"), painted[0].split(";"), strict=True):
        *words, left, width = a.split(" ")
        assert words == b.split(" ")[:-2]
        assert [float(left), float(width)] == pytest.approx([float(x) for x in b.split(" ")[-2:]], abs=0.002)


def test_hostile_text_does_nothing(tmp_path):
    script = "seen.push(document.images.length); seen.push(document.querySelectorAll('.u').length); seen.push(typeof alerted)"
    html = page(nasty()).replace("alert(1)", "alerted=1")
    assert run(tmp_path, html, script) == ["0", "2", "undefined"]
