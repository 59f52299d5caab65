"""`prunebench pretrain STUDY`: train the unpruned networks of a study into one folder."""

import argparse

from bench.cli.parser import add_progress_arguments, add_study_arguments
from bench.cli.resolve import (
    resolve_device,
    resolve_progress,
    resolve_run_folder,
    resolve_study,
)
from bench.cli.standard_output import prints_go_to_stderr

NAME = "pretrain"
HELP = "train the unpruned networks of a study"
EXAMPLE = "prunebench pretrain table1 --out networks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_study_arguments(
        parser, out="folder of the networks (default: results/runs/STUDY/pretrained)"
    )
    add_progress_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train the networks that are not stored yet and print the key of each."""
    from bench.runner.run import check_inputs, pretrain
    from bench.training.pretrained import pretrained_key

    with prints_go_to_stderr():
        study = resolve_study(arguments)
    folder = arguments.out or resolve_run_folder(arguments) / "pretrained"
    device = resolve_device(arguments)
    with prints_go_to_stderr():
        check_inputs(study.cells(), device)
    for key, cell in {pretrained_key(cell): cell for cell in study.cells()}.items():
        with prints_go_to_stderr(), resolve_progress(arguments) as progress:
            pretrain(cell, [folder], device, progress)
        print(f"{key}  {cell.task} {cell.backbone} seed {cell.seed}", flush=True)
    print(f"Networks: {folder}")
