"""The public API: everything that a user or a plugin author imports, and the command `prunebench`.

    from prunebench import peak_memory, prune, save

Names are imported from `bench` when they are first used, so that `import prunebench` and
`prunebench --help` cost nothing. A user's own package named `bench` may come first on the path and
hide ours: this module has a name of its own, so it can say so.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Result, prune, save
    from bench.contract import (
        NO_TRAINER,
        Budget,
        Method,
        Pair,
        Pruned,
        Recipe,
        Task,
        TraceStep,
        Trainer,
    )
    from bench.errors import ConfigError, Infeasible, PluginError
    from bench.export.saved import load
    from bench.fit.search import Fit, fit
    from bench.memory.as_run import as_run_peak_bytes
    from bench.memory.profile import peak_memory, profile
    from bench.memory.timeline import MemoryProfile
    from bench.method_bases import StagedMethod, SweepMethod
    from bench.plugins.registry import backbone, method, task
    from bench.surgery.analysis import NetworkAnalysis, analyse_network
    from bench.surgery.importance import channel_norms, gate_gradients
    from bench.surgery.remove import remove_channels
    from bench.surgery.width_search import global_ranking_widths, uniform_widths
    from bench.testing.checks import check_method, check_task
    from bench.testing.pytest_suite import MethodContract, TaskContract
    from bench.tiling.largest import largest_tile
    from bench.tiling.network import TiledNetwork
    from bench.tiling.plan import plan_tiles

NAMES_OF_MODULE = {
    "bench.api": ("Result", "prune", "save"),
    "bench.contract": (
        "NO_TRAINER",
        "Budget",
        "Departure",
        "Method",
        "Pair",
        "Pruned",
        "Recipe",
        "Task",
        "TraceStep",
        "Trainer",
    ),
    "bench.errors": ("ConfigError", "Infeasible", "PluginError"),
    "bench.export.saved": ("load",),
    "bench.fit.search": ("Fit", "fit"),
    "bench.memory.as_run": ("as_run_peak_bytes",),
    "bench.memory.profile": ("peak_memory", "profile"),
    "bench.memory.timeline": ("MemoryProfile",),
    "bench.method_bases": ("StagedMethod", "SweepMethod"),
    "bench.plugins.registry": ("backbone", "method", "task"),
    "bench.surgery.analysis": ("NetworkAnalysis", "analyse_network"),
    "bench.surgery.importance": ("channel_norms", "gate_gradients"),
    "bench.surgery.remove": ("remove_channels",),
    "bench.surgery.width_search": ("global_ranking_widths", "uniform_widths"),
    "bench.testing.checks": ("check_method", "check_task"),
    "bench.testing.pytest_suite": ("MethodContract", "TaskContract"),
    "bench.tiling.largest": ("largest_tile",),
    "bench.tiling.network": ("TiledNetwork",),
    "bench.tiling.plan": ("plan_tiles",),
}
MODULE_OF_NAME = {name: module for module, names in NAMES_OF_MODULE.items() for name in names}
OUR_BENCH = Path(__file__).resolve().parent.parent / "bench" / "__init__.py"

__all__ = [
    "NO_TRAINER",
    "Budget",
    "ConfigError",
    "Departure",
    "Fit",
    "Infeasible",
    "MemoryProfile",
    "Method",
    "MethodContract",
    "NetworkAnalysis",
    "Pair",
    "PluginError",
    "Pruned",
    "Recipe",
    "Result",
    "StagedMethod",
    "SweepMethod",
    "Task",
    "TaskContract",
    "TiledNetwork",
    "TraceStep",
    "Trainer",
    "analyse_network",
    "as_run_peak_bytes",
    "backbone",
    "channel_norms",
    "check_method",
    "check_task",
    "fit",
    "gate_gradients",
    "global_ranking_widths",
    "largest_tile",
    "load",
    "method",
    "peak_memory",
    "plan_tiles",
    "profile",
    "prune",
    "remove_channels",
    "save",
    "task",
    "uniform_widths",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module of `bench` that defines it."""
    if name not in MODULE_OF_NAME:
        raise AttributeError(f"module 'prunebench' has no attribute '{name}'")
    if conflict := find_conflict():
        raise ImportError(conflict)
    return getattr(import_module(MODULE_OF_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def find_conflict() -> str:
    """Return a sentence about the package that hides ours; an empty string if none does."""
    found = find_spec("bench")
    origin = Path(found.origin).resolve() if found and found.origin else None
    if origin == OUR_BENCH:
        return ""
    if origin is None:
        return f"'bench' is not in {OUR_BENCH.parent}; install prunebench again"
    return (
        f"'bench' is taken by {origin}, which shadows prunebench's own in {OUR_BENCH.parent}; "
        "rename it or take its folder off PYTHONPATH"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    if conflict := find_conflict():
        print(f"prunebench: {conflict}", file=sys.stderr)
        return 2
    from bench.cli.main import main as run_command

    return run_command(argv)
