"""`prunebench sync RUN`: copy to MLflow the records of a run that it does not have yet."""

import argparse
from typing import Any

from bench.cli.parser import add_run_folder_argument
from bench.cli.resolve import open_store

NAME = "sync"
HELP = "copy the records of a run to MLflow"
EXAMPLE = "prunebench sync results/runs/table1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_run_folder_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy the records; return 1 if MLflow failed, else 0."""
    return copy_to_mlflow(open_store(arguments.folder))


def copy_to_mlflow(store: Any) -> int:
    """Copy the records that MLflow does not have yet and print how many.

    A failure of MLflow is a warning on stderr. Returns 1 for a failure, else 0.
    """
    from bench.report.mlflow_sync import log_study, tracking_uri

    copied = log_study(store.folder, store.name(), store.records(), store.cells())
    if copied is None:
        return 1
    if copied:
        print(f"MLflow: {copied} records copied to {tracking_uri(store.folder)}")
    else:
        print("MLflow: nothing new to copy")
    return 0
