"""`prunebench sync RUN`: copy to MLflow the records of a run that it does not have yet."""

import argparse
from typing import Any

from bench.cli.parser import add_run_folder_argument
from bench.cli.resolve import open_store
from bench.errors import ConfigError

NAME = "sync"
HELP = "copy the records of a run to MLflow"
EXAMPLE = "prunebench sync results/runs/table1 --register my-denoiser --label mosp --ratio 0.25"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_run_folder_argument(parser)
    parser.add_argument(
        "--register",
        metavar="NAME",
        help="also register a network in MLflow, as a new version of the model NAME; "
        "choose it with --label, --ratio and --seed",
    )
    parser.add_argument("--label", metavar="LABEL", help="label of the network's row")
    parser.add_argument(
        "--ratio", type=float, metavar="RATIO", help="its share of the unpruned peak"
    )
    parser.add_argument("--seed", type=int, metavar="SEED", help="its seed")


def run(arguments: argparse.Namespace) -> int:
    """Copy the records, and register a network if asked; return 1 if MLflow failed, else 0."""
    store = open_store(arguments.folder)
    choice = (arguments.label, arguments.ratio, arguments.seed)
    if arguments.register is None:
        if choice != (None, None, None):
            raise ConfigError(
                "--label, --ratio and --seed choose the network that --register NAME registers; "
                "add it or leave them out"
            )
        return copy_to_mlflow(store)
    from bench.report.mlflow_model import check_name, choose_network

    check_name(arguments.register)
    record = choose_network(store.records(), *choice)
    return copy_to_mlflow(store) or _register(store, record, arguments.register)


def copy_to_mlflow(store: Any) -> int:
    """Copy the records that MLflow does not have yet and print where they are.

    A failure of MLflow is a warning on stderr. Returns 1 for a failure, else 0.
    """
    from bench.report.mlflow_sync import log_study, tracking_uri

    records = store.records()
    copied = log_study(store.folder, store.name(), records, store.cells())
    if copied is None:
        return 1
    news = f"{copied} records copied to" if copied else "nothing new to copy, all records are in"
    print(f"MLflow: {news} {tracking_uri(store.folder)}")
    return 0


def _register(store: Any, record: Any, name: str) -> int:
    """Register the network of a record and print how to load it; return 1 if MLflow failed."""
    from bench.report.mlflow_sync import register_network

    registered = register_network(store, record, name)
    if registered is None:
        return 1
    version, is_new = registered
    print(
        f"MLflow: {'registered' if is_new else 'was registered before'} as version {version} of "
        f"{name}; load it with mlflow.pyfunc.load_model('models:/{name}/{version}')"
    )
    return 0
