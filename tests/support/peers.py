"""Packages that are compared with where they are installed."""

import importlib
import warnings
from importlib.util import find_spec
from types import ModuleType

import pytest


def package(name: str, install: str) -> ModuleType:
    """The package, imported without its own warnings; skips the calling test, saying how to install it, where it is absent."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed ({install})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
