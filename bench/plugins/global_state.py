"""The global state of the process: what a plugin changes in it is named, and put back.

A default dtype, a grad mode or a working directory that stays behind would change all that follows
in the process: the harness's own training of this row, and other rows. So would a function of the
harness that is replaced (`bench.plugins.replaced_code`). Draws of random numbers, filters of
warnings and the import path are put back without a word, because imports and honest methods change
them.
"""

import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_module
from torch.optim import optimizer as torch_optimizer
from torch.overrides import _get_current_function_mode_stack
from torch.overrides import _pop_mode as _pop_function_mode
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils._python_dispatch import _pop_mode as _pop_dispatch_mode

from bench.plugins.replaced_code import WatchedCode

Item = tuple[Callable[[], Any], Callable[[Any], Any]]  # get, put
OWN_PREFIX = "PRUNEBENCH_"  # of environment variables
MAX_VALUE_CHARACTERS = 40
MAX_FUNCTIONS = 3  # that are named of those replaced
_MODES: list[Any] = []
GLOBAL_HOOKS = [
    hooks
    for owner in (torch_module, torch_optimizer)
    for name, hooks in vars(owner).items()
    if name.startswith("_global_") and isinstance(hooks, dict)
]


def _attribute(owner: Any, name: str) -> Item:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _autocast(device: str) -> Item:
    def put(state: tuple[bool, torch.dtype]) -> None:
        torch.set_autocast_enabled(device, state[0])
        torch.set_autocast_dtype(device, state[1])

    return lambda: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)), put


def _flushes_denormals() -> bool:
    smallest = torch.full((), 2.0**-140, dtype=torch.float32, device="cpu")
    return bool(smallest * 0.5 == 0)


def _put_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _put_inference_mode(on: bool) -> None:
    mode = torch._C._InferenceMode(on)
    mode.__enter__()
    _MODES.append(mode)  # a mode ends with its object


def _count_modes() -> tuple[int, int]:
    """Return the number of function modes and of dispatch modes that are entered.

    The default device is a function mode too; it has an entry of its own.
    """
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    modes = [mode for mode in _get_current_function_mode_stack() if mode is not default]
    return len(modes), len(_get_current_dispatch_mode_stack())


def _leave_modes(before: tuple[int, int]) -> None:
    while _count_modes()[0] > before[0]:
        _pop_function_mode()
    while _count_modes()[1] > before[1]:
        _pop_dispatch_mode()


def _profilers() -> tuple[Any, Any]:
    return sys.gettrace(), sys.getprofile()


def _put_profilers(before: tuple[Any, Any]) -> None:
    sys.settrace(before[0])
    sys.setprofile(before[1])


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return os.sep


def _environment() -> dict[str, str]:
    """Return the environment variables without our own, where the harness notes what it did."""
    return {name: text for name, text in os.environ.items() if not name.startswith(OWN_PREFIX)}


def _put_environment(before: Mapping[str, str]) -> None:
    for name in _environment():
        del os.environ[name]
    os.environ.update(before)


def _put_global_hooks(before: list[dict[Any, Any]]) -> None:
    for hooks, content in zip(GLOBAL_HOOKS, before, strict=True):
        hooks.clear()
        hooks.update(content)


def _handlers() -> dict[int, Any]:
    """Return the signal handlers that Python can set."""
    return {
        number: handler
        for number in signal.valid_signals()
        if (handler := signal.getsignal(number)) is not None
    }


def _put_handlers(before: Mapping[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # no other thread can change them
    for number, handler in before.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _put_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


MODES = "the modes of torch that are entered"
NAMED: dict[str, Item] = {
    MODES: (_count_modes, _leave_modes),  # first: they may change how the others are read
    "the grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the inference mode": (torch.is_inference_mode_enabled, _put_inference_mode),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, _put_default_device),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "the precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "cudnn.enabled": _attribute(torch.backends.cudnn, "enabled"),
    "cudnn.deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "cudnn.benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn.allow_tf32": _attribute(torch.backends.cudnn, "allow_tf32"),
    "oneDNN": (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    "autocast on the CPU": _autocast("cpu"),
    "autocast on the GPU": _autocast("cuda"),
    "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "flushing of denormal numbers": (_flushes_denormals, torch.set_flush_denormal),
    "the working directory": (_working_directory, os.chdir),
    "garbage collection": (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
}
# Values that are not shown: environment variables may hold secrets, the others are objects.
UNSHOWN: dict[str, Item] = {
    "the environment variables": (_environment, _put_environment),
    "the signal handlers": (_handlers, _put_handlers),
    "the functions that trace or profile calls": (_profilers, _put_profilers),
    "the global hooks of torch": (
        lambda: [dict(hooks) for hooks in GLOBAL_HOOKS],
        _put_global_hooks,
    ),
}


def _cuda_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


UNNAMED: tuple[Item, ...] = (
    (lambda: list(warnings.filters), _put_filters),
    (lambda: list(sys.path), lambda before: sys.path.__setitem__(slice(None), before)),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
    (_cuda_states, torch.cuda.set_rng_state_all),
)


class GlobalState:
    """The global state at one moment."""

    def __init__(self) -> None:
        self._code = WatchedCode()
        self._named = {name: get() for name, (get, _) in (NAMED | UNSHOWN).items()}
        self._unnamed = [get() for get, _ in UNNAMED]

    def find_changes(self) -> list[str]:
        """Return what is different now: "the grad mode from True to False"."""
        changes = []
        for name, before in self._named.items():
            now = (NAMED | UNSHOWN)[name][0]()
            if now == before:
                continue
            shown = [str(value)[:MAX_VALUE_CHARACTERS] for value in (before, now)]
            if name not in UNSHOWN:
                changes.append(f"{name} from {shown[0]} to {shown[1]}")
                if name == MODES:
                    return changes
            elif isinstance(now, dict):
                keys = {key for key in {**before, **now} if before.get(key) != now.get(key)}
                labels = (key.name if isinstance(key, signal.Signals) else key for key in keys)
                changes.append(f"{name} {', '.join(sorted(map(str, labels)))}")
            else:
                changes.append(name)
        if replaced := self.find_replaced_code():
            changes.append(f"the code of {replaced}")
        return changes

    def find_replaced_code(self) -> str:
        """Return the first functions of the harness or torch that are others now; "" if none."""
        return ", ".join(self._code.find_replaced()[:MAX_FUNCTIONS])

    def put_back(self) -> None:
        """Make this the present state."""
        self._code.put_back()
        for name, before in self._named.items():
            get, put = (NAMED | UNSHOWN)[name]
            if get() != before:
                put(before)
        for (_, put), before in zip(UNNAMED, self._unnamed, strict=True):
            put(before)


@contextmanager
def preserve_global_state() -> Iterator[GlobalState]:
    """Yield the present state, and put it back at the end of the block."""
    state = GlobalState()
    try:
        yield state
    finally:
        state.put_back()
