"""A study of the fake task, and a store of its own for each test."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import tests.fakes  # noqa: F401  it registers the fake task and the fake method
from bench.study.store import Store
from bench.study.study import Study, load_study

STUDY = """
tasks = ["fake"]
backbones = [{backbone = "tiny", width = 8}]
methods = ["unpruned", {method = "narrow", label = "narrow"}]
ratios = [0.5, 0.75]
"""


@pytest.fixture(autouse=True)
def same_threads():
    """Puts the number of threads back, which a recipe sets."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Study]:
    """study("ratios=[0.5]", ...): the study above with these changes."""
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    return lambda *overrides, **given: load_study(path, overrides=overrides, **given)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Make SIGINT interrupt, as in a terminal: a shell starts background processes without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
