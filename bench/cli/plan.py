"""`prunebench plan STUDY`: print the jobs of a study, their time, and what it can show."""

import argparse
import json
from dataclasses import asdict

from bench.cli.parser import add_json_argument, add_study_arguments, positive_integers
from bench.cli.resolve import narrow_study, resolve_device, resolve_run_folder, resolve_study
from bench.cli.standard_output import prints_go_to_stderr

NAME = "plan"
HELP = "print what a study would run, for how long, and what it can show"
EXAMPLE = "prunebench plan table1 --devices 1,4"
DEVICES = (1, 2, 4, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    add_study_arguments(parser)
    parser.add_argument(
        "--devices",
        type=positive_integers,
        default=DEVICES,
        metavar="LIST",
        help="numbers of devices to estimate the time for; a device, such as a GPU, runs one job "
        "at a time (default: 1,2,4,8)",
    )
    add_json_argument(parser)
    parser.set_defaults(retry_failed=False)


def run(arguments: argparse.Namespace) -> None:
    """Print the plan of a study; `prunebench run --dry-run` calls it too."""
    from bench.report.detectable import describe_forecast, forecast_differences
    from bench.runner.plan import format_plan, make_plan
    from bench.runner.run import forecast_study
    from bench.study.store import Store

    store = Store(resolve_run_folder(arguments))
    device = resolve_device(arguments)
    with prints_go_to_stderr():
        study = narrow_study(resolve_study(arguments), arguments)
        forecast = forecast_study(study, store, device=device, retry_failed=arguments.retry_failed)
    plan = make_plan(study, forecast, arguments.devices)
    tables = forecast_differences(study.cells(), store.records())
    if arguments.json:
        print(
            json.dumps(plan.to_json() | {"tables": [asdict(table) for table in tables]}, indent=1)
        )
    else:
        print(format_plan(plan, store.folder))
        for table in tables:
            print(describe_forecast(table))
