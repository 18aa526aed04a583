"""Attention maps on the page: what the browser shows are the weights, filters filter, long texts stay small."""

import base64
import html as escapes
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest

from exegete.core.figure import Maps
from exegete.core.results.finding import Finding
from exegete.show.maps import maps, pooled, quantised, restored
from exegete.show.render import page

BROWSER = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
in_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
TOKENS = ("the", "cat", "sat", "a", "<b>dog", "ran")


def attention(n=6, count=4, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(n, 0.5), (count, n)).astype(np.float32)


def figure(patterns=None, **more):
    patterns = attention() if patterns is None else patterns
    count, rows, columns = patterns.shape
    words = TOKENS if rows == 6 else tuple(f"t{i}" for i in range(columns))
    names = tuple(f"{i // 2}.h{i % 2}" for i in range(count))
    groups = tuple(f"layer {i // 2}" for i in range(count))
    return Maps(
        title="maps", patterns=patterns, names=names, groups=groups, queries=words[:rows], keys=words, **more
    )


def html_of(f):
    class Shown(Finding):
        def figures(self):
            return (f,)

    return page(Shown(title="maps", lede="maps"))


def unpacked(payload, shape):
    """What is in the page, read without the code that wrote it."""
    return np.frombuffer(zlib.decompress(base64.b64decode(payload["data"])), np.uint8).reshape(shape)


@pytest.mark.parametrize("signed", [False, True])
def test_weights_survive_the_page_within_the_said_error(signed):
    x = attention(40, 3) * (np.random.default_rng(1).choice([-1, 1], (3, 40, 40)) if signed else 1)
    p = maps(figure(x, signed=signed))
    end = p.payload["end"]
    back = restored(unpacked(p.payload, x.shape), end, signed)
    step = 1 / (254 if signed else 510)
    assert (np.abs(back - x) <= 2 * step * np.sqrt(np.abs(x) * end) + step**2 * end + 1e-7).all()
    assert back.max() == pytest.approx(x.max(), rel=0.01)
    linear = np.rint(x / end * 255) / 255 * end  # the plain way would not keep small weights
    small = np.abs(x) < 1e-3
    assert np.abs(back - x)[small].max() < np.abs(linear - x)[small].max()


def test_nothing_that_is_not_a_number_is_drawn():
    assert quantised(np.array([np.nan, 0.0]), 1.0, False).tolist() == [0, 0]
    assert quantised(np.array([np.nan, 0.0]), 1.0, True).tolist() == [128, 128]


def test_a_long_text_stays_small_and_what_is_left_out_is_said():
    one = html_of(figure(attention(512, 12)))
    assert len(one) < 4_500_000
    f = figure(attention(512, 17))
    assert maps(f).left_out == 2
    more = html_of(f)
    assert len(more) < 6_000_000
    assert "2 more maps are not drawn; a saved result (--out FILE)" in more


def test_neurons_are_left_out_where_they_are_many():
    q = np.ones((4, 6, 8), np.float32)
    assert maps(figure(q=q, k=q)).neurons
    many = np.ones((4, 6, 20_000), np.float32)
    assert not maps(figure(q=many, k=many)).neurons


def test_thumbnails_keep_the_strongest_weight_of_a_block():
    x = np.zeros((100, 37))
    x[57, 30] = 1
    small = pooled(x, (6, 10))
    assert small.shape == (6, 10)
    assert small.max() == 1
    assert small.sum() == 1


def run(tmp_path, html, script):
    """What `script` puts into `seen` once the maps are drawn."""
    probe = f"""<script>addEventListener('load', () => {{ const seen = []; const wait = () => {{
      if (![...document.querySelectorAll('.maps')].every((b) => b.dataset.ready)) return setTimeout(wait, 20);
      {script}; document.title = 'seen¦' + seen.join('¦'); }}; wait(); }})</script>"""
    file = tmp_path / "page.html"
    file.write_text(html.replace("</body>", probe + "</body>"), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
    ]
    done = subprocess.run(
        [str(BROWSER), *flags, "--virtual-time-budget=4000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    title = re.search(r"<title>seen¦(.*?)</title>", done.stdout, re.S)
    assert title, done.stderr[-500:]
    return escapes.unescape(title[1]).split("¦")


HELPERS = """
const box = document.querySelector('.maps'), q = (s) => box.querySelector(s), detail = () => q('.detail').textContent;
const key = (e, k) => e.dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true, cancelable: true}));
const stage = () => q('.map-stage');
"""


@in_browser
def test_heads_open_cells_tell_and_arcs_filter(tmp_path):
    x = attention()
    f = figure(x, query_parts=(0, 0, 0, 1, 1, 1), key_parts=(0, 0, 0, 1, 1, 1))
    script = HELPERS + """
    seen.push(box.querySelectorAll('.thumb').length, q('.map-name').textContent);
    q('.thumb').focus(); key(document.activeElement, 'ArrowDown'); document.activeElement.click();
    seen.push(q('.map-name').textContent);
    const c = stage().querySelector('canvas'); key(c, 'ArrowRight'); key(c, 'ArrowDown'); key(c, 'ArrowDown'); seen.push(detail());
    q('[data-view=arcs]').click(); const tokens = [...stage().querySelectorAll('.queries .arc-token')];
    seen.push(tokens.length, tokens[4].textContent, document.querySelectorAll('b b, .arc-token b').length);
    tokens[1].dispatchEvent(new Event('mouseenter')); seen.push(detail());
    const from = q('[data-from]'); from.value = '1'; from.dispatchEvent(new Event('change'));
    seen.push([...stage().querySelectorAll('.queries .arc-token')].map((t) => t.textContent).join(' '));
    seen.push(stage().querySelectorAll('.keys .arc-token').length);
    const least = q('[data-threshold]'); least.value = least.max; least.dispatchEvent(new Event('input'));
    stage().querySelectorAll('.queries .arc-token')[0].dispatchEvent(new Event('mouseenter')); seen.push(detail());
    """  # fmt: skip
    seen = run(tmp_path, html_of(f), script)
    assert seen[:3] == ["4", "0.h0", "1.h0"]
    words, value = seen[3].rsplit(": ", 1)
    assert words == "sat → cat"
    assert float(value) == pytest.approx(x[2, 2, 1], abs=float(np.sqrt(x[2, 2, 1] * x.max()) / 254 + 1e-3))
    assert seen[4:7] == ["6", "<b>dog", "0"]
    best = np.argsort(-x[2, 1])[:3]
    assert [part.rsplit(": ", 1)[0] for part in seen[7].split(" · ")] == [f"cat → {TOKENS[j]}" for j in best]
    assert seen[8:10] == ["a <b>dog ran", "6"]
    assert seen[10] == "No line of this token is above the threshold."


@in_browser
def test_colours_of_cells_are_the_weights_and_neurons_multiply(tmp_path):
    x = attention()
    rng = np.random.default_rng(3)
    q, k = (rng.normal(size=(4, 6, 3)).astype(np.float32) for _ in range(2))
    script = HELPERS + """
    const thumb = q('.thumb canvas'), pixels = thumb.getContext('2d').getImageData(0, 0, 6, 6).data;
    seen.push([...Array(36).keys()].map((i) => pixels[4 * i]).join(' '));
    q('[data-view=neurons]').click(); const c = stage().querySelector('canvas');
    seen.push(stage().querySelector('select').value, c.width > 300, detail());
    """  # fmt: skip
    seen = run(tmp_path, html_of(figure(x, q=q, k=k, scale=0.5)), script)
    red = np.array(seen[0].split(" "), float)
    share = (255 - red) / (255 - 0x7D)
    assert np.abs(share - (x[0] / x[0].max()).ravel()).max() < 0.02
    assert np.abs(share - (x[1] / x[1].max()).ravel()).max() > 0.1  # another head looks otherwise
    assert seen[1:3] == ["5", "true"]
    assert seen[3] == "Attention is the softmax of 0.500 (q · k) over the keys that are seen."
