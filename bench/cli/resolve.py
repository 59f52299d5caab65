"""What the commands share: the study, folder, device or network that the arguments ask for; ConfigError before anything is written."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import ConfigError

RUNS = Path("results") / "runs"
MOST_DIGITS = 20


def load_plugins(paths: Sequence[str]) -> None:
    """Files that bring methods, tasks or backbones.

    Raises ConfigError if one is not there; one that is broken is named on stderr.
    """
    if paths:
        from bench.plugins.registry import load_plugin

        for path in paths:
            load_plugin(path)


def study_of(arguments: argparse.Namespace) -> Any:
    """The checked study, its data read once. Raises ConfigError before anything is written."""
    from bench.study.study import load_study

    study = load_study(
        arguments.study,
        overrides=arguments.set,
        data=arguments.data,
        seeds=_seeds(arguments.seeds),
        convention=arguments.convention,
    )
    study.cells()
    return study


def _seeds(text: str | None) -> list[int] | None:
    """ "0,1,2" as numbers. Raises ConfigError."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < MOST_DIGITS for part in parts):
        raise ConfigError(
            f"--seeds {text} is not a list of whole numbers; write for example --seeds 0,1,2"
        )
    return [int(part) for part in parts]


def seconds_of(duration: str | None) -> float | None:
    """ "2h" in seconds. Raises ConfigError."""
    from bench.units import parse_duration

    return None if duration is None else parse_duration(duration)


def out_folder(arguments: argparse.Namespace) -> Path:
    """The run folder: --out, or results/runs/STUDY."""
    out: Path | None = arguments.out
    return out or RUNS / Path(arguments.study).stem


def store_at(folder: Path) -> Any:
    """A run folder that is there. Raises ConfigError."""
    from bench.study.store import Store

    if not (folder / "study.json").is_file() and not (folder / "records").is_dir():
        raise ConfigError(
            f"{folder} holds no results; give the folder of a run, such as {RUNS / 'table1'}"
        )
    return Store(folder)


def device_of(arguments: argparse.Namespace) -> str:
    """On which networks are trained. Raises ConfigError for one that is not there."""
    from bench.training.trainer import chosen_device

    return chosen_device(arguments.device)


def network_of(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The network that is profiled, a task's or from a file of the user's, and its input (several: a tuple). Raises ConfigError."""
    from bench.plugins.network_file import is_own, load
    from bench.plugins.options import assigned
    from bench.study.catalogue import built
    from bench.units import parse_shapes

    options = ({} if arguments.width is None else {"width": arguments.width}) | assigned(
        arguments.set
    )
    shapes = parse_shapes(arguments.shape) if arguments.shape else ()
    asked = shapes[0] if len(shapes) == 1 else shapes
    if arguments.task or not is_own(arguments.backbone):
        model, measured_at = built(arguments.backbone, arguments.task, options)
        return model, asked or measured_at
    if not asked:
        raise ConfigError(
            f"{arguments.backbone} needs an input to be measured at; give it, for example --shape 1x3x256x256, or its --task"
        )
    return load(arguments.backbone, options), asked
