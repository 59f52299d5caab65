"""`prunebench prune METHOD`: prune one network to one budget and save it in a folder."""

import argparse
from pathlib import Path
from typing import Any

from bench.cli.parser import (
    BACKBONE_HELP,
    add_backbone_arguments,
    add_checkpoint_argument,
    add_executor_argument,
    add_progress_arguments,
    add_shape_argument,
    add_time_limit_argument,
    add_training_arguments,
    output_folder,
    positive_number,
    share,
)
from bench.cli.resolve import (
    RUNS,
    resolve_backbone,
    resolve_device,
    resolve_progress,
    resolve_seconds,
)
from bench.cli.standard_output import prints_go_to_stderr

NAME = "prune"
HELP = "prune one network to one budget and save it"
EXAMPLE = "prunebench prune mosp --backbone unet --ratio 0.5"
PRUNED = Path("results") / "pruned"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "method", metavar="METHOD", help="name of a method (prunebench list methods)"
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--backbone", metavar="BACKBONE", help=BACKBONE_HELP)
    add_checkpoint_argument(network)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument(
        "--ratio",
        type=share,
        metavar="RATIO",
        help="budget as a share of the unpruned peak memory, above 0 and at most 1",
    )
    budget.add_argument("--peak-mib", type=positive_number, metavar="MIB", help="budget in MiB")
    add_backbone_arguments(parser)
    add_shape_argument(
        parser,
        "input (N, C, H, W) at which memory is counted, such as 1x3x256x256 "
        "(default: the task's own, prunebench list tasks)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of all random numbers (default: %(default)s)",
    )
    add_executor_argument(parser, ("processes", "serial"))
    add_time_limit_argument(parser)
    parser.add_argument(
        "--out",
        type=output_folder,
        metavar="FOLDER",
        help="folder of the network (default: results/pruned/BACKBONE-METHOD-BUDGET)",
    )
    add_progress_arguments(parser)
    add_training_arguments(
        parser,
        "an option of the method, backbone or task, or of the recipe: recipe.finetune_steps=50",
        data="embedded",
        convention="planned",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prune the network, save it and print how it compares with the unpruned one."""
    from bench.plugins.registry import METHODS, TASKS
    from bench.runner.executors.serial import SerialExecutor
    from bench.runner.prune import PruneRequest, folder_name, prune_once
    from bench.units import MIB

    request = PruneRequest(
        method=METHODS.find(arguments.method),
        backbone=resolve_backbone(arguments),
        task=arguments.task and TASKS.find(arguments.task),
        backbone_options={} if arguments.width is None else {"width": arguments.width},
        ratio=arguments.ratio,
        peak_bytes=None if arguments.peak_mib is None else int(arguments.peak_mib * MIB),
        data=arguments.data,
        seed=arguments.seed,
        convention=arguments.convention,
        overrides=arguments.set,
        measured_at=arguments.shape,
    )
    budget = f"{arguments.ratio:g}" if arguments.ratio is not None else f"{arguments.peak_mib:g}MiB"
    folder = arguments.out or PRUNED / folder_name(request.backbone, request.method, budget)
    with prints_go_to_stderr(), resolve_progress(arguments) as progress:
        unpruned, pruned = prune_once(
            request,
            folder,
            work_folder=arguments.out / "run" if arguments.out else RUNS / "prune",
            device=resolve_device(arguments),
            progress=progress,
            time_limit_seconds=resolve_seconds(arguments.time_limit),
            executor=SerialExecutor() if arguments.executor == "serial" else None,
        )
    print(format_result(unpruned, pruned, folder))


def format_result(unpruned: Any, pruned: Any, folder: Path) -> str:
    """Return budget, peaks, parameters, PSNR and steps before and after, one line each.

    Args:
        unpruned: record of the network before pruning.
        pruned: record of the pruned network.
        folder: where it is saved.
    """
    from bench.units import format_mib

    def format_change(before: int | None, after: int | None) -> str:
        return f"{format_mib(before or 0)} -> {format_mib(after or 0)}"

    runtimes = unpruned.measured.keys() & pruned.measured.keys()  # at most the one of the budget
    cell = pruned.cell
    budget = format_mib(pruned.budget_bytes or 0)
    lines = {
        "budget": f"{budget} ({cell.convention}, ratio {cell.ratio:g})",
        "peak planned": format_change(unpruned.peak_bytes, pruned.peak_bytes)
        + f" in {pruned.peak_step}",
        "peak eager": format_change(unpruned.peak_bytes_eager, pruned.peak_bytes_eager),
        **{
            f"peak {name}": format_change(
                *(record.measured[name]["peak_bytes"] for record in (unpruned, pruned))
            )
            for name in runtimes
        },
        "parameters": f"{unpruned.parameters:,} -> {pruned.parameters:,}",
        "PSNR": f"{unpruned.means['psnr_db']:.2f} dB -> {pruned.means['psnr_db']:.2f} dB "
        f"(without a network {pruned.input_means['psnr_db']:.2f} dB)",
        "steps": f"{sum(pruned.steps.values()):,} after the pretraining of "
        f"{cell.recipe.pretrain_steps:,}",
        "saved in": str(folder),
        "reload": f"from prunebench import load; model = load({str(folder)!r})",
    }
    return "\n".join(f"{name:<16}{value}" for name, value in lines.items())
