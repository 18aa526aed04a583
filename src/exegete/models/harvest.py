"""The activation table: labelled stretches of texts x places of the model -> vectors and labels, read once for everything.

    harvest(lab, items, sites, pool)   one row a mark (a word, a pair of stretches, a whole text), aligned by characters
    stream(lab, texts, sites)          every token of a corpus, chunk by chunk, in bounded memory

1. each text is read by the model's own tokenizer; a mark's tokens are those its characters touch (a whole text: all tokens
   that stand for text); what the context cuts off is counted as failed, and so is a whole text that it cuts, though what is
   read of it stands for it;
2. texts go through the model in buckets of like length under the token budget, once for all sites; at a mark the tokens are
   pooled to one vector (first, last, mean, max) or all kept, with offsets;
3. rows are written to their place in arrays made beforehand, on disk (memory-mapped) where they are large, so that memory
   does not grow with the corpus;
4. a table is kept on disk under the hash of model, revision, dtype, texts, marks, sites and pooling (`models.kept`), and
   never found again for another one.

Cost: one forward a text, whatever the number of sites and marks; none where the table is kept. Shapes: [row, width], for
pairs [row, 2, width], for pool "all" [token, width] with offsets [2 * row + 1] or [row + 1]; per-head sites lie flat,
[row, head * dh].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from exegete.core.errors import InputError, UnknownName, UsageError
from exegete.core.material import Mark, Marked, Parsed, Tag
from exegete.core.request import Text
from exegete.core.site import PER_HEAD, Site
from exegete.models.encode import Encoded, encode
from exegete.models.forward import buckets
from exegete.models.kept import Kept, kept
from exegete.models.lab import Lab, Reading
from exegete.models.model import Model

Pool = Literal["last", "first", "mean", "max", "all"]
POOLS: tuple[str, ...] = get_args(Pool)


@dataclass(frozen=True)
class Table:
    """Activations of marks at places of a model.

    values   site -> float32 [row, width]; [row, 2, width] where the marks are pairs; [token, width] for pool "all"
    labels   of every row
    item     which text a row comes from [row]; rows of one text stand together, in its order
    mark     which mark of that text it is [row]
    words    what the first stretch of each row is, for baselines that read words alone
    offsets  pool "all": tokens of stretch i are values[offsets[i]:offsets[i + 1]]; a pair has two stretches, 2 r and 2 r + 1
    n_failed marks whose tokens the context cut off, or that no token stands for; they have no row, but whole texts that were cut
    n_cut    those of the failed: whole texts with a row that knows their beginning only
    cut      which rows these are [row]
    """

    values: dict[Site, np.ndarray]
    labels: tuple[Tag, ...]
    item: np.ndarray
    mark: np.ndarray
    words: tuple[str, ...]
    offsets: np.ndarray | None = None
    n_failed: int = 0
    n_cut: int = 0
    cut: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must be told of it."""
        if not self.n_cut:
            return ()
        return (
            f"{self.n_cut} of {len(self)} texts are longer than the model's context: only their beginning was read.",
        )


class NothingRead(InputError):
    """No token of the model stands for any of the marks."""

    @classmethod
    def of(cls, items: Sequence[Marked]) -> "NothingRead":
        """The letter about the marks of `items`."""
        return cls(
            f"You asked for the activations of {sum(len(i.marks) for i in items)} marks.",
            "No token of the model stands for any of them.",
            "Check that the spans are character positions of the text.",
        )


@dataclass(frozen=True)
class Chunk:
    """Tokens of a stretch of a corpus: which text, position in what the model reads, id [row]; site -> values [row, width]."""

    text: np.ndarray
    position: np.ndarray
    ids: np.ndarray
    values: dict[Site, Tensor]


def layer_sites(model: Model, kind: str = "resid_post", first: bool = True) -> tuple[Site, ...]:
    """The places of one kind in every layer of the stack that reads the text; `first`: what enters layer 0 before them."""
    stack = model.map.stacks[0]
    found = tuple(s for s in model.map.sites(kind, stack) if s.layer is not None)
    if not found:
        raise UsageError(
            f"You asked for the site {kind!r} in every layer of {model.name}.",
            "It has none, or their proof failed.",
            "Choose resid_post, mlp_act or z.",
        )
    return (Site("resid_pre", layer=0, stack=stack), *found) if first else found


def sites_at(model: Model, kind: str, layers: Sequence[int]) -> tuple[Site, ...]:
    """Places of a kind in the layers named (none: all). Raises `UsageError` for a layer or kind that there is not."""
    found = layer_sites(model, kind, first=False)
    known = [s.layer for s in found]
    missing = [i for i in layers if i not in known]
    if missing:
        raise UsageError(
            f"You asked for {kind} of layer {missing[0]}.",
            f"{model.name} has it in the layers {known[0]} to {known[-1]}.",
            "Name layers among these, or none for all.",
        )
    return tuple(s for s in found if not layers or s.layer in layers)


def words_of(items: Sequence[Parsed]) -> tuple[Marked, ...]:
    """Parsed sentences as texts whose words are marked, each with its part of speech ("" where there is none)."""
    return tuple(
        Marked(
            text=p.text,
            marks=tuple(Mark(label=t, spans=(s,)) for t, s in zip(p.tags or ("",) * len(p.words), p.spans)),
            id=p.id,
        )
        for p in items
    )


def harvest(
    lab: Lab, items: Sequence[Marked], sites: Sequence[Site | str], pool: str = "last", keep: bool = True
) -> Table:  # fmt: skip
    """The table of `items` at `sites`. Marks of one table are all stretches, all pairs or all whole texts. `keep`: on disk, for the next
    time it is asked for.

    Raises `UnknownName` for a pooling that there is not, `InputError` where marks are of several kinds or none can be read.
    """
    if pool not in POOLS:
        raise UnknownName("pooling", pool, POOLS)
    places = tuple(dict.fromkeys(Site.parse(s) for s in sites))
    pair = _pairs(items)
    encoded = [encode(lab.model, Text(text=i.text, truncate=True)) for i in items]
    plan = _plan(items, encoded, pair)
    store = kept(_identity(lab.model, encoded, plan, places, pool)) if keep else Kept("", None)
    if not plan.item.size:
        raise NothingRead.of(items)
    values = store.open() or _read(lab, encoded, places, plan, pool, store)
    table = Table(
        values=dict(zip(places, values)),
        labels=tuple(items[i].marks[m].label for i, m in zip(plan.item, plan.mark)),
        item=plan.item,
        mark=plan.mark,
        words=tuple(items[i].words[m] for i, m in zip(plan.item, plan.mark)),
        n_failed=plan.n_failed,
        n_cut=int(plan.cut.sum()),
        cut=plan.cut,
    )
    if pool == "all":
        return replace(table, offsets=plan.offsets)
    if pair:
        shaped = {s: v.reshape(len(table), 2, v.shape[1]) for s, v in table.values.items()}
        return replace(table, values=shaped)
    return table


def stream(
    lab: Lab, texts: Sequence[Text | str], sites: Sequence[Site | str], special: bool = False
) -> Iterator[Chunk]:
    """Activations of every token of `texts`, in passes under the token budget; `special`: also tokens that stand for no text.

    Texts come in order of length within stretches of the corpus, so that no more than a few passes are in memory at once.
    """
    places = tuple(dict.fromkeys(Site.parse(s) for s in sites))
    stretch = max(1, 4 * lab.model.token_budget // 16)
    for start in range(0, len(texts), stretch):
        some = [encode(lab.model, _cut(t)) for t in texts[start : start + stretch]]
        for members in buckets([len(e.tokens) for e in some], lab.model.token_budget):
            reading = lab.batch_of([some[m] for m in members])
            keep = torch.tensor(
                [[special or not t.special for t in some[m].tokens] + [False] * (reading.mask.shape[1] - len(some[m].tokens)) for m in members]
            )  # fmt: skip
            row, position = (x.numpy() for x in keep.nonzero(as_tuple=True))
            values = _run(lab, reading, places, keep)
            ids = reading.inputs["input_ids"].cpu().numpy()[row, position]
            yield Chunk(start + np.array(members)[row], position, ids, values)


def _cut(text: Text | str) -> Text:
    return Text.of(text).model_copy(update={"truncate": True})


@dataclass(frozen=True)
class _Plan:
    """Where the tokens of every row are: `tokens` [token] positions in their text, by stretch from `offsets`."""

    item: np.ndarray
    mark: np.ndarray
    tokens: np.ndarray
    offsets: np.ndarray
    pair: bool
    n_failed: int
    cut: np.ndarray

    def stretches(self, text: int) -> range:
        """The stretches of one text, which stand together."""
        low, high = np.searchsorted(self.item, [text, text + 1]) * (2 if self.pair else 1)
        return range(int(low), int(high))


def _plan(items: Sequence[Marked], encoded: Sequence[Encoded], pair: bool) -> _Plan:
    item, mark, tokens, lengths, cut, failed = [], [], [], [], [], 0
    for i, (marked, e) in enumerate(zip(items, encoded)):
        at = [(n, t.start, t.end) for n, t in enumerate(e.tokens) if not t.special and t.end > t.start >= 0]
        whole = [n for n, t in enumerate(e.tokens) if not t.special]
        ends = max((end for _, _, end in at), default=0)
        for m, one in enumerate(marked.marks):
            found = [[n for n, a, b in at if a < end and start < b] for start, end in one.spans] or [whole]
            if not all(found) or any(end > ends for _, end in one.spans):
                failed += 1
                continue
            cut.append(bool(e.cut and not one.spans))
            item.append(i)
            mark.append(m)
            for stretch in found:
                tokens += stretch
                lengths.append(len(stretch))
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    return _Plan(np.array(item, dtype=np.int64), np.array(mark, dtype=np.int64), np.array(tokens, dtype=np.int64), offsets, pair, failed + sum(cut), np.array(cut, dtype=bool))  # fmt: skip


def _pairs(items: Sequence[Marked]) -> bool:
    """Whether marks are pairs. Raises `InputError` where they are of several kinds."""
    if not items:
        raise InputError(
            "You asked for activations.", "There are no texts.", "Give at least one labelled text."
        )
    kinds = {len(m.spans) for i in items for m in i.marks}
    if len(kinds) > 1:
        words = {0: "whole texts", 1: "stretches", 2: "pairs of stretches"}
        raise InputError(
            "You asked for the activations of labelled texts.",
            f"Some marks are {' and others '.join(words[k] for k in sorted(kinds))}.",
            "Give marks of one kind.",
        )
    return kinds == {2}


def _read(
    lab: Lab, encoded: Sequence[Encoded], sites: tuple[Site, ...], plan: _Plan, pool: str, store: Kept
) -> tuple[np.ndarray, ...]:
    """Fill the arrays of all sites, one pass a bucket."""
    arrays: list[np.ndarray] = []
    wanted = sorted({int(i) for i in plan.item})
    rows = len(plan.tokens) if pool == "all" else len(plan.offsets) - 1
    with lab.working(len(wanted), "reading texts") as done:
        for members in buckets([len(encoded[i].tokens) for i in wanted], lab.model.token_budget):
            texts = [wanted[m] for m in members]
            reading = lab.batch_of([encoded[i] for i in texts])
            spots = [(r, s) for r, i in enumerate(texts) for s in plan.stretches(i)]
            width = [int(plan.offsets[s + 1] - plan.offsets[s]) for _, s in spots]
            slots = np.concatenate([np.arange(plan.offsets[s], plan.offsets[s + 1]) for _, s in spots])
            tokens = plan.tokens[slots]
            at = torch.tensor(np.repeat([r for r, _ in spots], width)), torch.tensor(tokens)
            found = _run(lab, reading, sites, at)
            where = slots if pool == "all" else np.array([s for _, s in spots])
            arrays = arrays or [store.make(rows, found[s].shape[1]) for s in sites]
            for site, array in zip(sites, arrays):
                array[where] = pooled(found[site], width, pool).cpu().numpy()
            done(len(texts))
    return store.commit(arrays)


def pooled(values: Tensor, lengths: Sequence[int], pool: str) -> Tensor:
    """Vectors [token, width] of stretches of the given lengths, one after another -> [stretch, width] ("all": as they are)."""
    if pool == "all" or all(n == 1 for n in lengths):
        return values
    ends = torch.tensor(lengths, device=values.device).cumsum(0)
    if pool == "last":
        return values[ends - 1]
    starts = ends - torch.tensor(lengths, device=values.device)
    if pool == "first":
        return values[starts]
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), ends - starts)
    if pool == "max":
        out = values.new_full((len(lengths), values.shape[1]), -torch.inf)
        return out.scatter_reduce_(0, owner[:, None].expand_as(values), values, "amax")
    total = values.new_zeros(len(lengths), values.shape[1]).index_add_(0, owner, values)
    return total / (ends - starts)[:, None]


def _run(
    lab: Lab, reading: Reading, sites: tuple[Site, ...], at: Tensor | tuple[Tensor, Tensor]
) -> dict[Site, Tensor]:
    """One pass; of every site only what stands at the asked tokens is kept, as float32 [row, width]."""
    row, token = at.nonzero(as_tuple=True) if isinstance(at, Tensor) else at
    flat = (row * reading.mask.shape[1] + token).to(lab.model.device)
    reduce = {s: partial(_rows, heads=s.kind in PER_HEAD and s.head is None, at=flat) for s in sites}
    none = torch.zeros(
        len(reading.encoded), 1, dtype=torch.int64
    )  # unembed one row a text: the output is not asked for
    trace = lab.run(lab.passed(reading), reduce=reduce, rows=none)
    return {s: trace[s] for s in sites}


def _rows(x: Tensor, heads: bool, at: Tensor) -> Tensor:
    """[batch, tok, width] (per head [batch, head, tok, dh]; one unit [batch, tok]) -> a copy [row, width] of the tokens `at`,
    counted through the batch [row].
    """
    if heads:
        x = x.transpose(1, 2).flatten(2)
    found = x.flatten(0, 1).index_select(0, at.to(x.device)).float()
    return found[:, None] if found.dim() == 1 else found


def _identity(
    model: Model, encoded: Sequence[Encoded], plan: _Plan, sites: tuple[Site, ...], pool: str
) -> tuple[object, ...]:
    """Everything that the values depend on: the weights, what is read, where, and how it is pooled."""
    ids = [[t.id for t in e.tokens] for e in encoded]
    rows = [plan.item.tolist(), plan.tokens.tolist(), plan.offsets.tolist()]
    where = [str(s) for s in sites]
    return (model.fingerprint, model.revision, str(model.dtype), model.device.type, where, pool, ids, rows)
