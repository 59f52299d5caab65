"""Turn arguments into the study, folder, device or network that they name.

Every function raises ConfigError for arguments that cannot be used, before anything is written.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import ConfigError, PluginError

RUNS = Path("results") / "runs"
MAX_SEED_DIGITS = 20


def load_plugins(paths: Sequence[str]) -> None:
    """Load files with methods, tasks or backbones.

    A file that raises is named in a warning on stderr; a missing one raises ConfigError.
    """
    if paths:
        from bench.plugins.registry import load_plugin

        for path in paths:
            load_plugin(path)


def resolve_study(arguments: argparse.Namespace) -> Any:
    """Return the checked study; its data has been read once."""
    from bench.study.study import load_study

    study = load_study(
        arguments.study,
        overrides=arguments.set,
        data=arguments.data,
        seeds=_parse_seeds(arguments.seeds),
        convention=arguments.convention,
        more_rows=[row for text in arguments.add for row in parse_rows(text)],
    )
    study.cells()
    return study


def narrow_study(study: Any, arguments: argparse.Namespace) -> Any:
    """Return the study of the rows that --add names and of the unpruned network, with --against.

    Without --against it is the study as it is.
    """
    if getattr(arguments, "against", None) is None:
        return study
    added = [row for text in arguments.add for row in parse_rows(text)]
    if not added:
        raise ConfigError(
            "--against compares a new row with stored ones, and there is none; "
            "name it, for example --add my_method.py"
        )
    return study.select_last_rows(len(added))


def load_classes(path: str) -> list[tuple[str, Any]]:
    """Return the methods and tasks of a Python file, each with its kind.

    Raises:
        ConfigError: there is no such file.
        PluginError: the file cannot be loaded.
    """
    from bench.plugins.registry import BROKEN, METHODS, TASKS, load_plugin

    origin = load_plugin(path)
    if origin in BROKEN:
        raise PluginError(f"{path} cannot be loaded: {BROKEN[origin]}")
    return [
        (registry.kind, registry.get(name))
        for registry in (METHODS, TASKS)
        for name in registry.names_from(origin)
    ]


def parse_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a study that "NAME", "FILE.py" or "NAME:option=value,..." asks for.

    Raises:
        ConfigError: the file brings no method, or the options cannot be read.
        PluginError: the file cannot be loaded.
    """
    from bench.plugins.user_file import PYTHON_SUFFIX

    what, _, options = text.partition(":")
    names = [what]
    if what.endswith(PYTHON_SUFFIX):
        names = [cls.name for kind, cls in load_classes(what) if kind == "method"]
    if not names:
        raise ConfigError(f"{what} brings no method, so there is no row to add")
    return [{"method": name, **_parse_options(text, options)} for name in names]


def _parse_options(text: str, options: str) -> dict[str, Any]:
    """Parse "a=1,b=text": as TOML if possible, else each value alone."""
    from bench.plugins.options import parse_toml_value

    table = parse_toml_value(f"{{{options}}}")
    if isinstance(table, dict):
        return table
    pairs = [assignment.partition("=") for assignment in options.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ConfigError(
            f"--add {text} is not of the form METHOD:OPTION=VALUE,...; "
            "write for example --add mosp:compactors=false"
        )
    return {name.strip(): parse_toml_value(value) for name, _, value in pairs}


def _parse_seeds(text: str | None) -> list[int] | None:
    """Parse "0,1,2"."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < MAX_SEED_DIGITS for part in parts):
        raise ConfigError(
            f"--seeds {text} is not a list of whole numbers; write for example --seeds 0,1,2"
        )
    return [int(part) for part in parts]


def resolve_seconds(duration: str | None) -> float | None:
    """Return the seconds of a duration such as "2h"; None for None."""
    from bench.units import parse_duration

    return None if duration is None else parse_duration(duration)


def resolve_run_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of --out, or results/runs/STUDY; with --against one beside it.

    New rows alone are another study: in the folder of the whole one they would replace it.
    """
    from bench.study.packaged import study_path

    out: Path | None = arguments.out
    suffix = "_against" if getattr(arguments, "against", None) else ""
    return out or RUNS / f"{study_path(arguments.study).stem}{suffix}"


def resolve_progress(arguments: argparse.Namespace) -> Any:
    """Return a context manager that draws progress in a terminal, and elsewhere writes lines."""
    from bench.runner.progress import QUIET, TextProgress

    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    if arguments.verbosity == QUIET or is_dumb or not sys.stderr.isatty():
        return TextProgress(verbosity=arguments.verbosity)
    from bench.runner.terminal_progress import TerminalProgress

    return TerminalProgress(verbosity=arguments.verbosity)


def open_store(folder: Path) -> Any:
    """Return the store of a run folder that exists."""
    from bench.study.store import Store

    if not (folder / "study.json").is_file() and not (folder / "records").is_dir():
        raise ConfigError(
            f"{folder} holds no results; run a study first, for example prunebench run table1, "
            f"and give its folder, by default {RUNS}/STUDY"
        )
    return Store(folder)


def resolve_device(arguments: argparse.Namespace) -> str:
    """Return the device to train or measure on; ConfigError if this machine does not have it."""
    from bench.torch_state import choose_device

    return choose_device(arguments.device)


def resolve_backbone(arguments: argparse.Namespace) -> str:
    """Return the backbone that BACKBONE, --backbone or --checkpoint names."""
    from bench.plugins.checkpoint import PREFIX
    from bench.study.catalogue import find_backbone

    if arguments.checkpoint is not None:
        return PREFIX + arguments.checkpoint.removeprefix(PREFIX)
    return find_backbone(arguments.backbone)


def resolve_network(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Return the network to profile and the shape of its input, a tuple of shapes for several.

    The network belongs to a task, or comes from a file of the user.
    """
    from bench.plugins.network_file import is_user_network, load
    from bench.plugins.options import parse_assignments
    from bench.study.catalogue import build_backbone
    from bench.units import parse_shapes

    options = {} if arguments.width is None else {"width": arguments.width}
    options |= parse_assignments(arguments.set)
    shapes = parse_shapes(arguments.shape) if arguments.shape else ()
    shape = shapes[0] if len(shapes) == 1 else shapes
    backbone = resolve_backbone(arguments)
    if arguments.task or not is_user_network(backbone):
        model, task_shape = build_backbone(backbone, arguments.task, options)
        return model, shape or task_shape
    if not shape:
        raise ConfigError(
            f"{backbone} needs an input to be measured at; give it, "
            "for example --shape 1x3x256x256, or its --task"
        )
    return load(backbone, options), shape
