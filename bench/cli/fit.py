"""`prunebench fit BACKBONE`: what makes a network fit without training: tiles, half precision."""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.cli.parser import (
    add_convention_argument,
    add_json_argument,
    add_network_arguments,
    add_shape_argument,
)
from bench.cli.resolve import resolve_backbone, resolve_network
from bench.cli.standard_output import prints_go_to_stderr
from bench.units import MIB

if TYPE_CHECKING:
    from bench.tiling.ways import Way

NAME = "fit"
HELP = "list ways to fit a memory budget without training"
EXAMPLE = "prunebench fit unet --width 32 --memory 200MiB --shape 1x3x1024x1024"
UNITS = {"kib": 2**10, "mib": MIB, "gib": 2**30}
HEADERS = ("way", "precision", "tile", "tiles", "peak MiB", "MACs", "")


def memory(text: str) -> int:
    """Parse "200MiB" or "1.5GiB" into bytes."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kmg]ib)", text.lower())
    size_bytes = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not size_bytes:
        raise argparse.ArgumentTypeError(
            f"{text[:40]} is not a size above 0; write for example 200MiB or 1.5GiB"
        )
    return size_bytes


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
        type=memory,
        required=True,
        metavar="SIZE",
        help="budget for activations, input and output, such as 200MiB",
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
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the ways as text or JSON, those too that do not fit."""
    from bench.contract import Budget
    from bench.report.columns import format_columns
    from bench.tiling.ways import list_ways
    from bench.units import format_mib, format_shape

    backbone = resolve_backbone(arguments)
    with prints_go_to_stderr():
        model, shape = resolve_network(arguments)
        budget = Budget(arguments.memory, shape, arguments.convention)
        ways = list_ways(model, budget, arguments.halo)
    if arguments.json:
        print(json.dumps([asdict(way) for way in ways], indent=1))
        return
    print(
        f"{backbone} at {format_shape(shape)} within {format_mib(arguments.memory)}, "
        f"convention {arguments.convention}, input and output included\n"
    )
    align = ("left", "left", *4 * ("right",), "left")
    print(format_columns(list(_list_lines(ways)), HEADERS, align))
    for way in ways:
        if way.obstacle and way.tile is None:
            print(f"\n{way.name}, {way.precision}: {way.obstacle}")


def _list_lines(ways: "Sequence[Way]") -> Iterator[tuple[str, ...]]:
    """Yield a line of the table for each way."""
    whole = ways[0].macs or 1
    for way in ways:
        yield (
            way.name,
            way.precision,
            "x".join(map(str, way.tile or ())) or "-",
            str(way.count or "-"),
            "-" if way.peak_bytes is None else f"{way.peak_bytes / MIB:.1f}",
            "-" if way.macs is None else f"{way.macs / whole:.2f}",
            "does not fit" if way.obstacle else "fits",
        )
