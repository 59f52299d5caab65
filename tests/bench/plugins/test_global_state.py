"""The global state of the process: a change is named, and put back."""

import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.plugins.global_state import GlobalState, preserve_global_state
from bench.runner import referee


def enter(mode: Any) -> Any:
    mode.__enter__()
    return mode


CHANGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: torch.set_grad_enabled(False), "the grad mode from True to False"),
    (lambda: enter(torch.inference_mode()), "the inference mode from False to True"),
    (
        lambda: torch.set_default_dtype(torch.float64),
        "the default dtype from torch.float32 to torch.float64",
    ),
    (lambda: torch.set_default_device("meta"), "the default device from cpu to meta"),
    (lambda: torch.set_num_threads(3), "the number of threads from 1 to 3"),
    (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        "deterministic algorithms from 0 to 1",
    ),
    (lambda: setattr(torch.backends.cudnn, "benchmark", True), "cudnn.benchmark from False"),
    (lambda: torch.set_float32_matmul_precision("high"), "the precision of matrix products from"),
    (lambda: torch.backends.mkldnn.set_flags(_enabled=False), "oneDNN from True to False"),
    (lambda: torch.set_autocast_enabled("cpu", True), "autocast on the CPU from (False,"),
    (lambda: torch.set_flush_denormal(True), "flushing of denormal numbers from False to True"),
    (lambda: os.chdir("/"), "the working directory from"),
    (lambda: os.environ.update(SECRET="hidden"), "the environment variables SECRET"),
    (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        "the signal handlers SIGTERM",
    ),
    (lambda: register_module_forward_hook(lambda *_: None), "the global hooks of torch"),
    (lambda: enter(TorchFunctionMode()), "the modes of torch that are entered from (0, 0) to (1,"),
    (lambda: enter(TorchDispatchMode()), "the modes of torch that are entered from (0, 0) to (0,"),
    (lambda: sys.setprofile(lambda *_: None), "the functions that trace or profile calls"),
    (
        lambda: setattr(referee, "check_peak", lambda *_: None),
        "the code of bench.runner.referee.check_peak",
    ),
    (
        lambda: setattr(torch.optim.Adam, "step", lambda *_: None),
        "the code of torch.optim.adam.Adam.step",
    ),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[words for _, words in CHANGES])
def test_a_change_is_named_and_put_back(change: Callable[[], Any], words: str) -> None:
    before = GlobalState()
    with preserve_global_state() as state:
        kept = change()  # a mode ends with its object
        changes = state.find_changes()
    assert any(text.startswith(words) for text in changes), changes
    assert "hidden" not in str(changes)
    assert before.find_changes() == []
    del kept


def test_draws_and_filters_of_warnings_are_put_back_without_a_word() -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    with preserve_global_state() as state:
        first, filters = draw(), list(warnings.filters)
        warnings.simplefilter("error")
        assert state.find_changes() == []
    assert draw() == first and list(warnings.filters) == filters


def test_a_deleted_working_directory_is_left(tmp_path: Path) -> None:
    with preserve_global_state() as state:
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert len(state.find_changes()) == 1


def test_what_the_harness_notes_in_the_environment_is_no_change_and_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRUNEBENCH_VERIFIED_CACHE", "")
    before = GlobalState()
    os.environ["PRUNEBENCH_VERIFIED_CACHE"] = "1"
    assert before.find_changes() == []
    before.put_back()
    assert os.environ["PRUNEBENCH_VERIFIED_CACHE"] == "1"
