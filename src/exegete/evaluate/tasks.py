"""What methods are judged on, by name: `terrarium`, or a file or folder of rationales.

    terrarium               held-out reviews of the embedded language with the words that decide them (true rationales)
    FILE or FOLDER          rationales in any published form (`core.read_rationales`)

`n` items are drawn at random where there are more, the same ones for the same seed. Cost: reading.
"""

from exegete.core.rationale import Rationale
from exegete.core.read_rationales import Task, read_rationales
from exegete.core.seed import generator
from exegete.terrarium.rationales import rationales

TERRARIUM = "terrarium"
USUAL = 50


def task_of(name: str, n: int | None = None, seed: int = 0) -> Task:
    """The items of a task. Raises `InputError` for a file that cannot be read as rationales."""
    if name == TERRARIUM:
        return Task(rationales(n or USUAL, seed))
    found = read_rationales(name)
    return Task(_drawn(found.items, n, seed), found.skipped)


def _drawn(items: tuple[Rationale, ...], n: int | None, seed: int) -> tuple[Rationale, ...]:
    if n is None or n >= len(items):
        return items
    return tuple(items[i] for i in sorted(generator(seed, "task").choice(len(items), n, replace=False)))
