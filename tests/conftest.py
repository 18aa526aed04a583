"""While testing, every annotated function of the package checks its arguments (beartype), array shapes included (jaxtyping)."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["EXEGETE_CACHE"] = "off"  # a test that finds yesterday's activations tests nothing

from jaxtyping import install_import_hook

import support.typed

install_import_hook("exegete", f"{support.typed.__name__}.checked")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    """Nothing here depends on global random state; a test that did would still repeat."""
    torch.manual_seed(0)
