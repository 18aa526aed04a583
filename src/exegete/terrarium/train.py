"""Make the embedded models again: `python -m exegete.terrarium.train [--only NAME] [--out DIR] [--seed 0]`.

Order: encoder, sentiment (from the encoder), shortcut (from sentiment), decoder, repeats. Then the quality of what is in the
directory is measured and written to `quality.json`. Two threads; progress is printed.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from transformers.utils import logging

from exegete.terrarium import train_models, train_quality


def main() -> None:
    """Read the flags, train, measure."""
    parser = argparse.ArgumentParser(prog="python -m exegete.terrarium.train", description=__doc__)
    parser.add_argument("--only", choices=train_models.NAMES, help="train this model alone")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("weights"), help="directory of models"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of data and weights")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else train_models.NAMES:
        started = time.perf_counter()
        train_models.make(name, arguments.out, arguments.seed)
        _note(arguments.out, name, arguments.seed, time.perf_counter() - started)


def _note(out: Path, name: str, seed: int, seconds: float) -> None:
    """Measure one model and put its figures into quality.json beside those of the others."""
    file = out / "quality.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    known[name] = {"seed": seed, "seconds": round(seconds), **train_quality.measure(name, out)}
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    fresh.rename(file)
    print(name, json.dumps(known[name], sort_keys=True), flush=True)


if __name__ == "__main__":
    main()
