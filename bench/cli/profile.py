"""`prunebench profile BACKBONE`: print and draw the peak memory of a network."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cli.parser import (
    add_convention_argument,
    add_json_argument,
    add_network_arguments,
    add_shape_argument,
    positive_integer,
)
from bench.cli.resolve import resolve_backbone, resolve_network
from bench.cli.standard_output import prints_go_to_stderr
from bench.errors import ConfigError

NAME = "profile"
HELP = "print the peak memory of a network, step by step"
EXAMPLE = "prunebench profile my_net.py:build --shape 1x3x256x256 --plot peak.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_network_arguments(parser)
    add_shape_argument(
        parser,
        "input (N, C, H, W), such as 1x3x1024x2048; several inputs are joined by commas "
        "(default: that of the task)",
    )
    add_convention_argument(parser)
    parser.add_argument(
        "--compactors",
        action="store_true",
        help="insert a compactor into every long skip connection first",
    )
    parser.add_argument(
        "--top",
        type=positive_integer,
        metavar="N",
        help="print only the N time steps with the most bytes (default: all)",
    )
    parser.add_argument(
        "--why",
        action="store_true",
        help="print what keeps the peak up however much is pruned, and the lines of your code",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the timeline into a .png, .svg or .pdf file",
    )
    parser.add_argument(
        "--arena",
        type=Path,
        metavar="FILE",
        help="place every value in one block of memory, and write the offsets into a .json file",
    )
    parser.add_argument(
        "--alignment",
        type=positive_integer,
        default=64,
        metavar="BYTES",
        help="offsets in the arena are multiples of this (default: %(default)s)",
    )
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the profile as text or JSON; draw it if --plot is given.

    Raises:
        ConfigError: the network cannot be traced; what it needs as it is written is told even so.
    """
    from bench.memory.least_peak import find_least_peak
    from bench.memory.profile import profile
    from bench.report.timeline_plot import check_suffix, draw_timeline
    from bench.report.timeline_text import format_least_peak, format_timeline
    from bench.surgery.compactors import insert_compactors, long_skips

    if arguments.plot:
        check_suffix(arguments.plot)
    backbone = resolve_backbone(arguments)
    with prints_go_to_stderr():
        model, shape = resolve_network(arguments)
        as_run_bytes, as_run = _measure_as_run(model, shape)
        try:
            if arguments.compactors:
                model = insert_compactors(model, long_skips(model, shape), shape)
                as_run_bytes, as_run = _measure_as_run(model, shape)
            measured = profile(model, shape, arguments.convention)
        except ConfigError as error:
            if as_run_bytes is None:
                raise
            raise ConfigError(f"{error}; as run the network needs {as_run}") from error
        least = find_least_peak(model, shape, arguments.convention) if arguments.why else None
        arena_bytes = _write_arena(arguments, backbone, model, measured)
    if arguments.plot:
        draw_timeline(backbone, measured, arguments.plot)
    if arguments.json:
        figures = measured.to_json() | {"as_run_bytes": as_run_bytes, "arena_bytes": arena_bytes}
        if least is not None:
            figures["least_peak"] = asdict(least)
        print(json.dumps({"backbone": backbone} | figures, indent=1))
    else:
        print(format_timeline(backbone, measured, arguments.top, as_run))
        if least is not None:
            print("\n" + format_least_peak(least))
        _print_arena(arena_bytes, measured)


def _write_arena(
    arguments: argparse.Namespace, backbone: str, model: Any, profile: Any
) -> dict[str, int]:
    """Write the arena plans of a network; return strategy -> bytes; {} if none is asked for."""
    from bench.files import checked_json
    from bench.memory.arena import STRATEGIES, plan_arena
    from bench.units import format_shape

    if not arguments.arena:
        return {}
    plans = [
        plan_arena(
            model,
            profile.shape,
            profile.convention,
            strategy=strategy,
            alignment=arguments.alignment,
        )
        for strategy in STRATEGIES
    ]
    content = {
        "backbone": backbone,
        "shape": format_shape(profile.shape),
        "convention": profile.convention,
        "peak_bytes": profile.peak_bytes,
        "arenas": [asdict(plan) for plan in plans],
    }
    checked_json.write(arguments.arena, content)
    return {plan.strategy: plan.bytes for plan in plans}


def _print_arena(arena_bytes: dict[str, int], profile: Any) -> None:
    from bench.units import format_mib

    for strategy, size_bytes in arena_bytes.items():
        print(
            f"arena, {strategy}: {format_mib(size_bytes)} ({size_bytes:,} bytes), "
            f"{size_bytes / profile.peak_bytes - 1:.1%} above the {profile.convention} peak"
        )


def _measure_as_run(model: Any, shape: Any) -> tuple[int | None, str]:
    """Return the peak of a network as it is written, in bytes and as text.

    Where it cannot be measured, return None and the reason.
    """
    from bench.memory.as_run import as_run_peak_bytes
    from bench.units import format_mib

    try:
        peak_bytes = as_run_peak_bytes(model, shape)
    except ConfigError as error:
        return None, f"not known: {error}"
    return peak_bytes, f"{format_mib(peak_bytes)} ({peak_bytes:,} bytes)"
