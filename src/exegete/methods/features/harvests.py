"""A finished harvest (`exegete run harvest`) as what a dictionary learns from: its shards are streamed, nothing is read again.

1. the folder is checked: a run that harvests, finished and whole, every token of whole texts, by this model (the fingerprint of the
   weights stands in every shard; a letter tells revision and dtype), at the places that are asked for;
2. rows that say what a held-out text says (but for blanks) are left out, whoever held it out;
3. activations come in pieces of `PIECE` tokens, read from the mapped file and let go: in the order of the folder where all fit into
   the buffer, in another seeded order every round where they do not (shards stand in order of length, so that order would mean
   something);
4. any other model, such as the one with shuffled weights, reads the texts, which the folder holds too.

Memory: beside the buffer a piece (or the rows of a shard), 8 bytes a text and 16 a piece. Cost: one reading of rows and table to begin
with, of the arrays once a round. Shapes: [row, width], row a token.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch

from exegete.core.errors import InputError, ModelError, StoreError, UsageError
from exegete.core.request import Text
from exegete.core.seed import generator
from exegete.core.site import Site
from exegete.methods.features.activations import Lessons, Rows, blocks, capacity, hashes, read
from exegete.models.lab import Lab
from exegete.models.model import Model
from exegete.run import rows as kept
from exegete.run import shard
from exegete.run.opened import Run

PIECE = 1024  # tokens read at a time
LEAST = 128  # tokens that controls take of a piece at least, so that they are of many texts


def drawn(path: str, n: int, seed: int) -> tuple[Text, ...]:
    """`n` texts of the harvest at `path` by a seeded draw, one less than all at most."""
    run = _finished(path)
    which = generator(seed, "held out of a harvest").permutation(run.plan.n_rows)[
        : min(n, run.plan.n_rows - 1)
    ]
    wanted, found, before = set(which.tolist()), [], 0
    file = kept.Rows(run.plan.file(run.folder))
    for k, size in enumerate(file.sizes()):
        if not wanted.isdisjoint(range(before, before + size)):
            found += [_said(r.data, path) for i, r in enumerate(file.shard(k), before) if i in wanted]
        before += size
    return tuple(Text(text=t, truncate=True) for t in found)


def only(path: str, model: Model, site: Site) -> Site:
    """The place of a harvest of one place; `site` where it has several."""
    found = _sites(_finished(path), model)
    return next(iter(found)) if len(found) == 1 else site


def lessons(path: str, lab: Lab, sites: tuple[Site, ...], held: Sequence[Text], least: int) -> "Harvest":
    """What the harvest at `path` teaches about `sites`, without the texts that are held out.

    Raises `StoreError` for a folder that is no finished harvest, `ModelError` for one of another model, `UsageError` for one of other
    places, `InputError` where fewer than `least` tokens are left.
    """
    run = _finished(path)
    _same_model(run, lab.model)
    names = _sites(run, lab.model)
    missing = [s for s in sites if s not in names]
    if missing:
        raise UsageError(
            _asked(path), f"It was made at {', '.join(map(str, names))}; {missing[0]} is not among them.",
            f"Name one of these (--site), or harvest the other: --sites {','.join(map(str, dict.fromkeys(sites)))}",
        )  # fmt: skip
    found = Harvest(run, lab.model, names, _indexed(run, path, held))
    if found.tokens < least:
        raise InputError(
            _asked(path),
            f"{found.tokens:,} of its tokens are left to learn from, without {len(held):,} texts that are held out; one step takes {least:,}.",
            "Harvest more texts, hold fewer out (n_held_out), or take a smaller batch.",
        )
    return found


@dataclass(frozen=True, eq=False)
class _Index:
    """By shard: `tokens` of its arrays, and of these the stretches [n, 2] that are left out (`gone`); `learned`: hashes of the texts."""

    tokens: np.ndarray
    gone: Mapping[int, np.ndarray]
    learned: np.ndarray


class Harvest(Lessons):
    """The shards of a finished harvest of `model`. `names` are its places by site, as its arrays are called."""

    def __init__(self, run: Run, model: Model, names: Mapping[Site, str], index: _Index) -> None:
        self.run, self.model, self.names, self.index = run, model, names, index
        self.pieces = np.cumsum(-(-index.tokens // PIECE))  # up to and with every shard
        self.left = index.tokens - [
            np.diff(index.gone[k]).sum() if k in index.gone else 0 for k in range(len(index.tokens))
        ]
        self.tokens = int(self.left.sum())

    def __len__(self) -> int:
        return len(self.index.learned)

    @property
    def words(self) -> str:
        """Which, and how much of it."""
        folder = self.run.folder.path
        return f"{len(self):,} ({self.tokens:,} tokens) of the harvest {folder.name} (plan {self.run.plan.hash[:8]}) to learn from"

    def rounds(
        self, lab: Lab, sites: tuple[Site, ...], megabytes: int, seed: str
    ) -> Iterator[tuple[Rows, bool]]:
        """Rows of the shards; for another model than the one that was harvested, of their texts."""
        piece = self.piece(0, sites)
        fits = self.tokens <= capacity([v.shape[1] for v in piece], megabytes)
        own = lab.model is self.model
        n = int(self.pieces[-1]) if own else len(self.left)
        for number in count():
            order = np.arange(n) if fits else lab.rng("pieces", seed, number).permutation(n)
            if own:
                for i, at in enumerate(order):
                    yield self.piece(int(at), sites), i + 1 == n
            else:
                yield from self._read(lab, sites, [int(k) for k in order if self.left[k]])

    def some(self, lab: Lab, sites: tuple[Site, ...], n: int) -> Rows:
        """The first rows of pieces in a seeded order; all where there are no more than n."""
        order = lab.rng("pieces of controls").permutation(int(self.pieces[-1]))
        each = PIECE if self.tokens <= n else min(PIECE, max(LEAST, -(-n // len(order))))
        held: list[Rows] = []
        for at in order:
            held.append(tuple(v[:each] for v in self.piece(int(at), sites)))
            if sum(len(r[0]) for r in held) >= n:
                break
        return tuple(torch.cat(v)[:n] for v in zip(*held))

    def hashes(self) -> np.ndarray:
        """A number a text, in the order of the folder."""
        return self.index.learned

    def piece(self, at: int, sites: Sequence[Site]) -> Rows:
        """The rows of piece `at` that are not left out; it may have none."""
        k = int(np.searchsorted(self.pieces, at, side="right"))
        low = PIECE * (at - (int(self.pieces[k - 1]) if k else 0))
        high = min(low + PIECE, int(self.index.tokens[k]))
        path = self.run.folder.shard(k, "safetensors")
        found = shard.stretch(path, [self.names[s] for s in sites], low, high)
        stays = np.ones(high - low, dtype=bool)
        for a, b in self.index.gone.get(k, ()):
            stays[max(a - low, 0) : max(b - low, 0)] = False
        rows = found if stays.all() else [v[stays] for v in found]
        return tuple(torch.from_numpy(v).to(self.model.device, torch.float32) for v in rows)

    def _read(self, lab: Lab, sites: tuple[Site, ...], shards: Sequence[int]) -> Iterator[tuple[Rows, bool]]:
        """One round over the texts of shards, as `lab` reads them."""
        file = kept.Rows(self.run.plan.file(self.run.folder))
        for k in shards:
            sizes = _sizes(self.run, k)
            starts = np.cumsum(sizes) - sizes
            gone = {int(a) for a, _ in self.index.gone.get(k, ())}
            texts = [
                Text(text=r.data["text"], truncate=True)
                for r, start, size in zip(file.shard(k), starts, sizes, strict=True)
                if size and int(start) not in gone
            ]
            every = list(blocks(texts))
            for i, few in enumerate(every):
                yield read(lab, few, sites).values, k == shards[-1] and i + 1 == len(every)


def _asked(path: str) -> str:
    return f"You asked to learn features from the harvest {path!r}."


def _finished(path: str) -> Run:
    """The run in a folder, which must be a finished harvest of every token. Raises `StoreError`, `UsageError`."""
    try:
        run = Run(path)
    except StoreError as e:
        raise StoreError(
            _asked(path), e.found, "Give the folder that `exegete run harvest` wrote (--out)."
        ) from None
    job = run.plan.job
    if job["kind"] != "harvesting":
        raise StoreError(
            _asked(path), f"It holds a run of another kind ({job['kind']}).", "Harvest first: `exegete run harvest --sites SITE`."
        )  # fmt: skip
    if not run.finished:
        raise StoreError(
            _asked(path), f"It is not finished: {len(run.shards())} of {run.plan.n_shards} shards are there.",
            f"Finish it: `exegete jobs resume {path}`.",
        )  # fmt: skip
    if job["pool"] != "all":
        raise UsageError(
            _asked(path), f"It holds one vector a text ({job['pool']}), and features are learned from tokens.", "Harvest with --pool all.",
        )  # fmt: skip
    _whole(run, path)
    return run


def _whole(run: Run, path: str) -> None:
    """Raises `StoreError` where files are missing or were cut short (`exegete jobs verify` looks at every byte)."""
    try:
        told = json.loads(run.folder.manifest.read_text())
        size = sum((run.folder.path / "shards" / name).stat().st_size for name in told["files"])
        found = (
            f"Its shards have {size:,} bytes, and its manifest says {told['bytes']:,}"
            if size != told["bytes"]
            else ""
        )
    except (OSError, ValueError, KeyError) as e:
        missing = getattr(e, "filename", None)
        found = (
            f"The file {Path(missing).name} is missing" if missing else f"Its manifest cannot be read ({e})"
        )
    if found:
        raise StoreError(
            _asked(path),
            f"{found}.",
            f"Copy the folder again; `exegete jobs verify {path}` says what is wrong.",
        )


def _same_model(run: Run, model: Model) -> None:
    """Raises `ModelError` for a harvest by other weights."""
    weights = str(shard.told(run.folder.shard(0))["weights"])
    if weights == model.fingerprint:
        return
    ref = run.plan.job["model"]
    how = ", ".join(f"{name} {ref[name]}" for name in ("revision", "dtype", "task") if ref.get(name))
    mine = f"revision {model.revision}, " if model.revision else ""
    raise ModelError(
        _asked(str(run.folder.path)),
        f"It was made with {ref['source']}{f' ({how})' if how else ''}, whose weights are not those of {model.name} "
        f"({mine}dtype {str(model.dtype).removeprefix('torch.')}): fingerprint {weights[:8]} there, {model.fingerprint[:8]} here.",
        "Give the model it was made with (--model, --revision, --dtype), or harvest with this one.",
    )


def _sites(run: Run, model: Model) -> dict[Site, str]:
    """The places of a harvest as studies call them, and what its arrays are called."""
    found = {}
    for name in run.plan.job["sites"]:
        site = Site.parse(name)
        whole = Site(site.kind, layer=site.layer, stack=site.stack or model.map.stacks[0])
        found[whole if site == site.whole else site] = str(site)
    return found


def _indexed(run: Run, path: str, held: Sequence[Text]) -> _Index:
    """What stands where. Raises `StoreError` for a broken shard or one of another plan, `UsageError` for rows that are no whole texts."""
    if any(t.text is None for t in held):
        raise UsageError(
            _asked(path), "A text to judge on is given by its tokens alone, so that nobody can tell whether it was harvested.",
            "Give texts in words.",
        )  # fmt: skip
    out = {_key(str(t.text)) for t in held}
    file = kept.Rows(run.plan.file(run.folder))
    weights = shard.told(run.folder.shard(0))["weights"]
    tokens, gone, learned = np.zeros(run.plan.n_shards, dtype=np.int64), {}, []
    for k in range(run.plan.n_shards):
        told = shard.told(run.folder.shard(k))
        if told["plan"] != run.plan.hash or told["weights"] != weights:
            raise StoreError(_asked(path), f"Shard {k} belongs to another run.", "Copy the folder again.")
        said = [_said(r.data, path) for r in file.shard(k)]
        ends = np.cumsum(_sizes(run, k))
        starts = np.concatenate([[0], ends[:-1]])
        tokens[k] = ends[-1]
        left = np.array([_key(t) in out for t in said])
        read_rows = ends > starts
        if (left & read_rows).any():
            gone[k] = np.stack([starts, ends], 1)[left & read_rows]
        learned.append(hashes([Text(text=said[i]) for i in np.flatnonzero(read_rows & ~left)]))
    return _Index(tokens, gone, np.concatenate(learned))


def _sizes(run: Run, k: int) -> np.ndarray:
    """Tokens of every row of shard k; none of a row that failed."""
    path = run.folder.shard(k)
    if not int(shard.told(path)["tokens"]):  # every row failed: there is no column to say so
        return np.zeros(int(shard.told(path)["rows"]), dtype=np.int64)
    found = shard.read(path, ("vectors",)).column(0).to_pylist()
    return np.array([v or 0 for v in found], dtype=np.int64)


def _said(data: Mapping[str, object], path: str) -> str:
    """The text of a row. Raises `UsageError` where stretches of it were harvested, or it several times."""
    marks = data.get("marks")
    if isinstance(marks, list | tuple) and (len(marks) != 1 or (marks[0].get("spans"))):
        raise UsageError(
            _asked(path), "Its rows are marked stretches of texts, and features are learned from all their tokens.", "Harvest plain texts.",
        )  # fmt: skip
    return str(data["text"])


def _key(text: str) -> str:
    """What makes two texts the same, though one reader leaves blanks at the ends and another does not."""
    return " ".join(text.split())
