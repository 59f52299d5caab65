"""What MLflow shows of a record and of a study, as plain values; mlflow is not imported here.

Metrics are the few numbers and the learning curves that are worth a chart. Everything else is in
the artifact `record.json`.
"""

import getpass
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.export.saved import WEIGHTS
from bench.records import NOT_IN_KEY, Cell, Record, describe_outcome
from bench.report.results import RunResults
from bench.study.store import Store
from bench.units import format_mib, mib

MAX_PARAM_LENGTH = 500
MAX_NAME_LENGTH = 200
MAX_DIGEST_LENGTH = 36


@dataclass(frozen=True)
class Point:
    """One value of a metric; numbers that have no steps are at step 0."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class DataSplit:
    """A part of the data of a cell.

    Args:
        name: of the data and of the part.
        context: what it is used for: "training", "calibration" or "test".
        photographs: how many there are; None if the record does not say.
    """

    name: str
    context: str
    photographs: int | None = None


def describe_run(cell: Cell) -> str:
    """Return the name of a record's run: "mosp 0.5 seed 0"."""
    return f"{cell.label} {cell.ratio:g} seed {cell.seed}"


def describe_result(record: Record) -> str:
    """Return the result in a line: mean scores, peak and findings, or why there are none."""
    if record.status != "done":
        return describe_outcome(record.status, record.phase, record.reason)
    means = ", ".join(f"{name} {value:.3f}" for name, value in record.means.items())
    return "; ".join([means, f"peak {format_mib(record.peak_bytes or 0)}", *record.findings])


def metric_name(text: str) -> str:
    """Replace what MLflow does not allow in the name of a metric by spaces."""
    return re.sub(r"[^\w.\-]+", " ", text).strip()[:MAX_NAME_LENGTH]


def model_name(cell: Cell) -> str:
    """Return the name of a record's network, without characters that MLflow refuses in it."""
    return re.sub(r"[/:.%\"']", "_", describe_run(cell))


def time_span(store: Store, record: Record) -> tuple[int, int]:
    """Return when the work on a record began and ended, in milliseconds since 1970.

    It ended when its network was written, or the record if it has none: `prunebench measure` writes
    records again. It began as much earlier as its phases took together.
    """
    network = store.model_folder(record.key) / WEIGHTS
    version = store.version(record.key)
    if network.is_file():
        end = network.stat().st_mtime_ns
    else:
        end = version[1] if version else time.time_ns()
    return int(end / 1e6 - 1000 * sum(record.seconds.values())), int(end / 1e6)


def user_name() -> str:
    """Return the name of the user; "unknown" where the system has none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def record_metrics(record: Record) -> dict[str, float]:
    """Return mean scores, peak in MiB, number of parameters and seconds; {} without a result."""
    if record.status != "done":
        return {}
    peak_mib = None if record.peak_bytes is None else mib(record.peak_bytes)
    metrics = {
        **record.means,
        "peak_mib": peak_mib,
        "parameters": record.parameters,
        "seconds": sum(record.seconds.values()),
    }
    return {name: float(value) for name, value in metrics.items() if value is not None}


def curve_points(record: Record) -> list[Point]:
    """Return the learning curves: the loss of each phase, and the PSNR on calibration crops."""
    curves: dict[str, Iterable[Sequence[float]]] = {
        f"loss/{metric_name(phase)}": curve for phase, curve in record.training_losses.items()
    }
    curves["calibration_psnr_db"] = record.calibration_psnr
    return [
        Point(name, value, int(steps)) for name, curve in curves.items() for steps, value in curve
    ]


def data_splits(record: Record) -> list[DataSplit]:
    """Return the parts of the data: what was trained on, what methods looked at, every test set."""
    name = Path(record.cell.data).name
    splits = [DataSplit(f"{name}, {context}", context) for context in ("training", "calibration")]
    return splits + [
        DataSplit(f"{name}, test set {test_set}", "test", len(photographs))
        for test_set, photographs in record.scores.items()
    ]


def cell_params(cell: Cell) -> dict[str, str]:
    """Return a cell as flat text: "recipe.batch" -> "8". Long values end in dots.

    Params cannot change once written. Fields that may change without a new question (label, path of
    the data) are tags instead.
    """
    flat = {name: _to_text(value) for name, value in _flatten(cell.to_json(NOT_IN_KEY), "")}
    return {
        name: value if len(value) <= MAX_PARAM_LENGTH else value[: MAX_PARAM_LENGTH - 4] + " ..."
        for name, value in flat.items()
    }


def common_params(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the params that all cells share."""
    first, *others = map(cell_params, cells)
    return dict(set(first.items()).intersection(*(params.items() for params in others)))


def headline_points(results: RunResults) -> list[Point]:
    """Return the PSNR of each label at each budget: the step is the budget in % of the peak."""
    sections = results.split_sections()
    points = []
    for number, section in enumerate(sections, start=1):
        kind = f"{section.rows[0]['task']} {section.rows[0]['backbone']} {number}"
        group = "psnr_db" if len(sections) == 1 else metric_name(f"psnr_db {kind}")
        points += [
            Point(f"{group}/{metric_name(row['label'])}", row["psnr_db"], round(100 * row["ratio"]))
            for row in section.rows
            if row["psnr_db"] is not None
        ]
    return points


def _flatten(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
