"""`prunebench fit BACKBONE`: what makes a network fit: tiles, half precision, pruning."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.parser import (
    add_convention_argument,
    add_json_argument,
    add_network_arguments,
    add_shape_argument,
    output_folder,
    positive_integer,
    positive_number,
)
from bench.cli.resolve import RUNS, resolve_backbone, resolve_network
from bench.cli.standard_output import prints_go_to_stderr
from bench.errors import ConfigError
from bench.units import MIB, format_mib, format_shape, parse_size

if TYPE_CHECKING:
    from bench.contract import Shape
    from bench.fit.search import Fit
    from bench.fit.ways import Way

NAME = "fit"
HELP = "find what makes a network fit: pruning, tiles, half precision"
EXAMPLE = "prunebench fit unet --width 32 --memory 200MiB --shape 1x3x1024x1024"
HEADERS = ("network", "way", "precision", "tile", "tiles", "peak MiB", "MACs", "seconds", "dB", "")


def pixels(text: str) -> int:
    """Parse a whole number of pixels."""
    if not text.isdecimal() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"{text[:40]} is not a number of pixels")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_network_arguments(parser)
    parser.add_argument(
        "--memory",
        required=True,
        metavar="SIZE",
        help="budget for activations, input and output, such as 200MiB",
    )
    parser.add_argument(
        "--seconds", type=positive_number, metavar="S", help="limit for one image on this machine"
    )
    add_shape_argument(
        parser, "image (N, C, H, W), such as 1x3x1024x2048 (default: that of the task)"
    )
    parser.add_argument(
        "--halo",
        type=pixels,
        default=8,
        metavar="PIXELS",
        help="pixels that inexact tiles discard on each side (default: %(default)s)",
    )
    add_convention_argument(parser)
    _add_training_arguments(parser)
    parser.add_argument(
        "--executor",
        choices=("lean", "pytorch"),
        default="lean",
        help="what will run the network; pytorch needs more memory (default: %(default)s)",
    )
    parser.add_argument(
        "--all", action="store_true", help="print the ways too that do not fit or are beaten"
    )
    add_json_argument(parser)


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help='folder of photographs, or "embedded": rate the ways, train the best network, save it',
    )
    parser.add_argument(
        "--method",
        default="uniform",
        metavar="METHOD",
        help="method that prunes the network if that is the best way (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=positive_integer,
        metavar="N",
        help="steps of each training of the pruned network (default: those of the task)",
    )
    parser.add_argument(
        "--out",
        type=output_folder,
        metavar="FOLDER",
        help="folder of the network (default: results/fit/BACKBONE)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the front; with data, train the best way, save it and print how to run it.

    Raises:
        ConfigError: an argument cannot be used.
        Infeasible: nothing fits.
    """
    from bench.fit.saving import describe_run, save
    from bench.fit.search import fit

    memory_bytes = parse_size(arguments.memory)  # before anything is trained
    if not arguments.data and (arguments.out or arguments.steps):
        raise ConfigError("--out and --steps are for a network that is trained; give --data too")
    backbone = resolve_backbone(arguments)
    with prints_go_to_stderr():
        model, shape, training = (_resolve_training if arguments.data else _resolve)(arguments)
        found = fit(
            model,
            memory_bytes,
            shape=shape,
            seconds=arguments.seconds,
            halo=arguments.halo,
            convention=arguments.convention,
            executor=arguments.executor,
            **training,
        )
    if arguments.json:
        front = found.front
        ways = [asdict(way) | {"is_on_front": way in front} for way in found.ways]
        print(json.dumps(ways, indent=1))
    else:
        print(_format(backbone, shape, found, arguments))
    if found.chosen:
        from bench.plugins.backbones import safe_file_name

        folder = arguments.out or Path("results") / "fit" / safe_file_name(backbone)
        save(found, folder)
        if not arguments.json:
            print(_format_chosen(found.chosen, found) + f"\n\n{describe_run(found, folder)}")


def _resolve(arguments: argparse.Namespace) -> tuple[Any, "Shape", dict[str, Any]]:
    """Return the network with any weights, the shape, and no arguments of a training."""
    return *resolve_network(arguments), {}


def _resolve_training(arguments: argparse.Namespace) -> tuple[Any, "Shape", dict[str, Any]]:
    """Return the trained network, the shape, and how it is trained further.

    As `prunebench prune` does: the unpruned network is trained if it is not stored.
    """
    from bench.plugins.options import build_task, configure
    from bench.plugins.registry import METHODS, TASKS
    from bench.runner.prune import PruneRequest, build_study
    from bench.training.pretrained import PACKAGED_NETWORKS, load_or_train
    from bench.units import parse_shape

    request = PruneRequest(
        method=METHODS.find(arguments.method),
        backbone=resolve_backbone(arguments),
        task=arguments.task and TASKS.find(arguments.task),
        backbone_options={} if arguments.width is None else {"width": arguments.width},
        ratio=0.5,  # any: `fit` chooses its own
        peak_bytes=None,
        data=arguments.data,
        seed=0,
        convention=arguments.convention,
        overrides=arguments.set,
    )
    unpruned, pruned = build_study(request).cells()
    task = build_task(unpruned)
    recipe = asdict(pruned.recipe)
    if arguments.steps:
        recipe |= dict.fromkeys(("pretrain_steps", "finetune_steps"), arguments.steps)
        recipe["matched_steps"] = 0
    shape = parse_shape(arguments.shape) if arguments.shape else unpruned.measured_at
    model = load_or_train(task, unpruned, (RUNS / "prune" / "pretrained", PACKAGED_NETWORKS))
    method = configure(METHODS.get(pruned.method), pruned.method_options, f"method {pruned.method}")
    return (
        model,
        shape,
        {"data": arguments.data, "task": task, "method": method, "recipe": recipe},
    )


def _format(backbone: str, shape: "Shape", found: "Fit", arguments: argparse.Namespace) -> str:
    """Return the ways of the front as a table, below the whole image, and what is left out."""
    from bench.report.columns import format_columns

    front = found.front
    shown = [way for way in found.ways if arguments.all or way in front or way is found.ways[0]]
    ruler = "as run by PyTorch"
    if found.executor == "lean":
        ruler = f"convention {found.budget.convention}"
    align = ("left", "left", "left", *6 * ("right",), "left")
    lines = [
        f"{backbone} at {format_shape(shape)} within {format_mib(found.budget.peak_bytes)}, "
        f"{ruler}, input and output included\n",
        format_columns(list(_list_lines(shown, found)), HEADERS, align),
        "\nMACs: of the whole image = 1. Seconds: on this machine, ~ estimated from the MACs.",
    ]
    if found.chosen:
        lines.append("dB: PSNR on calibration crops, >= before the training of a pruned network.")
    else:
        lines.append("Quality is not known; --data embedded, or a folder, rates the ways.")
    if len(shown) < len(found.ways):
        lines.append(
            f"Ways not shown: {len(found.ways) - len(shown)}, which do not fit, or which another "
            "one beats in memory, time and quality (--all shows them)."
        )
    lines += dict.fromkeys(
        f"{way.name}: {way.obstacle}"
        for way in found.ways
        if way.tile is None and (way.ratio == 1 or arguments.all)
    )
    if found.note:
        lines.append(f"not pruned further: {found.note}")
    return "\n".join(lines)


def _list_lines(ways: "list[Way]", found: "Fit") -> Iterator[tuple[str, ...]]:
    """Yield a line of the table for each way."""
    whole = found.ways[0].macs or 1
    for way in ways:
        needs_training = way.ratio < 1 and not way.is_trained
        yield (
            "unpruned" if way.ratio == 1 else f"pruned to {way.ratio:.2f}",
            way.name,
            way.precision,
            "x".join(map(str, way.tile or ())) or "-",
            str(way.count or "-"),
            "-" if way.peak_bytes is None else f"{way.peak_bytes / MIB:.1f}",
            "-" if way.macs is None else f"{way.macs / whole:.2f}",
            "-" if way.seconds is None else _format_seconds(way.seconds, way.is_measured),
            "-" if way.psnr_db is None else f"{'>= ' * needs_training}{way.psnr_db:.2f}",
            "does not fit" if way.obstacle else "chosen" if way is found.chosen else "fits",
        )


def _format_seconds(seconds: float, is_measured: bool) -> str:
    """Return "0.52", "12", or, of an estimate, "~12"."""
    return ("" if is_measured else "~") + (f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2g}")


def _format_chosen(way: "Way", found: "Fit") -> str:
    """Return what the chosen way reaches on the test photographs."""
    from bench.fit.ways import describe

    steps = sum(found.result.steps.values()) if found.result else 0
    return (
        f"\nchosen: {describe(way)}; trained for {steps:,} steps; "
        f"{found.scores['psnr_db']:.2f} dB on the test photographs"
    )
