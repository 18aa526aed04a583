"""A training run as the checkpoints it left behind: folders named by the step, in order.

A checkpoint is a folder with a `config.json` (as `save_pretrained` and the Hugging Face trainer write it) whose name ends in
the number of its step: `checkpoint-500`, `step-0300`. They lie in the folder that is named, or in its folder `checkpoints`.

Cost: nothing is read but names; `load` reads one checkpoint at a time.
"""

import re
from pathlib import Path

from exegete.core.embedded import embedded_path
from exegete.core.errors import InputError

_STEP = re.compile(r"(\d+)$")


def checkpoints(source: str) -> tuple[tuple[int, Path], ...]:
    """(step, folder) in order, of an embedded model or of a folder. Raises `InputError` where there are fewer than two."""
    root = embedded_path(source) or Path(source).expanduser()
    found = [p for place in (root / "checkpoints", root) if place.is_dir() for p in place.iterdir()]
    named = [(int(m[1]), p) for p in found if (m := _STEP.search(p.name)) and (p / "config.json").exists()]
    if len(named) < 2:
        raise InputError(
            f"You asked for the checkpoints of {source!r}.",
            f"There are {len(named)} folders in it that end in a step and hold a config.json.",
            "Give the folder of a training run, such as folder='runs/mine' with checkpoint-500, checkpoint-1000, ...",
        )
    return tuple(sorted(named))


def spread(items: tuple[tuple[int, Path], ...], most: int) -> tuple[tuple[int, Path], ...]:
    """At most `most` of them, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return items
    return tuple(items[round(i * (len(items) - 1) / (most - 1))] for i in range(most))
