"""Records as table rows: the only adapter to pandas.

`build_frame` makes one row per record. `merge_rows` makes one row per question: records that differ
in nothing but the seed are averaged, and a cell without a record becomes a row with the status
"pending". Records whose recipes, data or method sources differ answer different questions and are
never averaged.

Over several seeds, peaks are the maximum over the seeds (a budget binds every seed), and all other
numbers are means, with the sample standard deviation (n - 1). From three seeds on, PSNR and SSIM
have half of the 95 % interval of the mean over seeds, on these photographs. Counts have none: they
are often equal in all but one seed, and Student's interval is for normal values. Only finished
records count. The status is the worst one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar

from bench.files.hashing import digest
from bench.records import UNPRUNED, Cell, Record
from bench.report.statistics import half_width_over_seeds
from bench.runtimes.registry import RUNTIMES
from bench.units import format_mib, format_shape

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame

Item = TypeVar("Item")
Row = Mapping[str, Any]  # of a table, from `merge_rows`
COLOURS = 3
MAIN_METHOD = "mosp"  # the page and Fig. 3a compare the other methods with it
WORST_FIRST = ("failed", "infeasible", "pending", "done")
# Prefix of a column -> the executor that ran the network (bench.runner.measure).
EXECUTOR_OF_PREFIX = {"measured": "pytorch", "lean": "lean", "onnx": "onnx"} | {
    name: name for name in RUNTIMES
}
MEMORY_FIELDS = tuple(f"{prefix}_bytes" for prefix in EXECUTOR_OF_PREFIX)
TIME_FIELDS = tuple(f"{prefix}_image_seconds" for prefix in EXECUTOR_OF_PREFIX)
MAX_FIELDS = (
    "budget_bytes",
    "peak_bytes",
    "peak_bytes_eager",
    "as_run_peak_bytes",
    "buffer_bytes",
    *MEMORY_FIELDS,
)
# Of the cost after the shared pretraining.
COST_FIELDS = ("steps", "rate_sum", "samples", "forward_passes", "seconds")
COUNT_FIELDS = (
    "parameters",
    "parameters_stored",
    "macs",
    "pretrain_steps_spent",
    "steps",
    "samples",
    "forward_passes",
)
INTEGER_FIELDS = (*MAX_FIELDS, *COUNT_FIELDS)
SCORE_FIELDS = ("psnr_db", "ssim", "input_psnr_db", "input_ssim")
MEAN_FIELDS = (
    *SCORE_FIELDS,
    "image_seconds",
    "relative_time",
    "seconds",
    "rate_sum",
    "tuning_rate_sum",
    *TIME_FIELDS,
    *COUNT_FIELDS,
)
SPREAD_FIELDS = ("peak_bytes", "parameters", "parameters_stored", "psnr_db", "ssim", *COST_FIELDS)
NUMBER_FIELDS = tuple(dict.fromkeys((*MEAN_FIELDS, *SPREAD_FIELDS)))
INTERVAL_FIELDS = ("psnr_db", "ssim")
EQUAL_FIELDS = (  # of all records of a question
    "question",
    "task",
    "backbone",
    "method",
    "label",
    "ratio",
    "convention",
    "measured_at",
    "compute",
    "data",
    "data_fingerprint",
)
EQUAL_OPTIONS = ("task_options", "backbone_options", "method_options", "run_options", "recipe")
SECTION_FIELDS = (  # of rows that may be compared
    "task",
    "task_options",
    "backbone",
    "backbone_options",
    "measured_at",
    "convention",
)


def build_frame(records: Iterable[Record], pending: Iterable[Cell] = ()) -> "DataFrame":
    """Return one row per record and one per pending cell.

    A row has the fields of the cell, the measured numbers, and the total costs of all phases. Bytes
    and counts are nullable integers; `psnr_db`, `ssim`, `input_psnr_db` and `input_ssim` are the
    means of the record.
    """
    import pandas as pd

    rows = [_frame_row(record.cell, record) for record in records]
    rows += [_frame_row(cell, None) for cell in pending]
    table = pd.DataFrame(rows)
    return table.astype({name: "Int64" for name in INTEGER_FIELDS if name in table})


def cell_fields(cell: Cell) -> dict[str, Any]:
    """Return the fields of a cell in the form that rows have."""
    values = {entry.name: getattr(cell, entry.name) for entry in fields(cell)}
    recipe = dict(vars(cell.recipe))
    return values | {"recipe": recipe, "measured_at": format_shape(cell.measured_at)}


def cell_section_key(cell: Cell) -> str:
    """Return the section key of the rows that a cell belongs to."""
    return section_key(cell_fields(cell))


def competes(row: Row) -> bool:
    """Return whether a row can be the best way of pruning at its ratio.

    It is finished, has a PSNR, is run whole and in float32, and its method did no training beyond
    what was booked.
    """
    return (
        row["status"] == "done"
        and row["psnr_db"] is not None
        and not row.get("run_options")  # stored tables may be older
        and not row.get("unbooked")
    )


def _frame_row(cell: Cell, record: Record | None) -> dict[str, Any]:
    """Return one row of the frame; without a record its numbers are None."""
    pending = dict.fromkeys((*MAX_FIELDS, *MEAN_FIELDS)) | {
        "status": "pending",
        "reason": "",
        "phase": "",
        "note": "",
        "findings": "",
        "unbooked": 0,
        "bottleneck": "",
        "measured_on": "",
    }
    return (
        {"key": cell.key, "question": cell.question}
        | cell_fields(cell)
        | (_record_fields(record) if record else pending)
    )


def _record_fields(record: Record) -> dict[str, Any]:
    """Return the fields that a record adds to those of its cell."""
    names = (
        "budget_bytes",
        "peak_bytes",
        "peak_bytes_eager",
        "as_run_peak_bytes",
        "image_seconds",
        "parameters",
        "parameters_stored",
        "macs",
        "status",
        "reason",
        "phase",
    )
    copied = {name: getattr(record, name) for name in names}
    copied["buffer_bytes"] = record.tiling.get("buffer_bytes")
    copied["relative_time"] = (
        record.image_seconds / record.unpruned_image_seconds
        if record.image_seconds and record.unpruned_image_seconds
        else None
    )
    scores = {name: record.means.get(name) for name in ("psnr_db", "ssim")}
    input_scores = {f"input_{name}": record.input_means.get(name) for name in ("psnr_db", "ssim")}
    costs: dict[str, float | None] = {
        "pretrain_steps_spent": record.steps.get("pretrain", 0),
        "forward_passes": record.forward_passes,
    }
    costs |= {name: sum(getattr(record, name).values()) for name in ("steps", "samples", "seconds")}
    rate_sum = sum(record.rate_sums.values())
    costs["rate_sum"] = rate_sum
    costs["tuning_rate_sum"] = rate_sum - record.rate_sums.get("pretrain", 0.0)
    if record.status != "done":
        costs = dict.fromkeys(costs)
    notes = {
        "note": _join_distinct([record.environment.get("note", ""), _describe_tiles(record)]),
        "findings": _join_distinct(record.findings),
        "unbooked": sum(record.unbooked.values()),
        "bottleneck": _describe_bottleneck(record),
    }
    return copied | _measured_fields(record) | scores | input_scores | costs | notes


def _describe_tiles(record: Record) -> str:
    """Say in which tiles a network was run; "" for the whole image."""
    tiling = record.tiling
    if tiling.get("count", 1) == 1:
        return ""
    kind = "exact tiles" if tiling["is_exact"] else "tiles"
    return (
        f"run in {tiling['count']} {kind} of {format_shape(tiling['tile'])} pixels; input and "
        f"output take {format_mib(tiling['buffer_bytes'])} of the peak"
    )


def _describe_bottleneck(record: Record) -> str:
    """Say where no three colours pass at full resolution; "" if they pass everywhere."""
    channels = record.bottleneck_channels
    if channels is None or channels >= COLOURS:
        return ""
    count = "one channel" if channels == 1 else f"{channels} channels"
    return f"{count} left in {' and '.join(record.bottleneck)}"


def _measured_fields(record: Record) -> dict[str, Any]:
    """Return peak and time of real runs of the network; None for executors that did not run it."""
    runs: dict[str, Mapping[str, Any]] = {
        prefix: record.measured.get(executor, {}) for prefix, executor in EXECUTOR_OF_PREFIX.items()
    }
    peaks = {f"{prefix}_bytes": run.get("peak_bytes") for prefix, run in runs.items()}
    seconds = {f"{prefix}_image_seconds": run.get("image_seconds") for prefix, run in runs.items()}
    machines = dict.fromkeys(str(run["on"]) for run in runs.values() if run)
    return peaks | seconds | {"measured_on": "; ".join(machines)}


def merge_rows(records: Sequence[Record], cells: Sequence[Cell] = ()) -> list[dict[str, Any]]:
    """Return one dictionary per question, sorted by section, falling ratio and label.

    Sections and labels keep the order of `cells` (or of the records). `seeds` counts the finished
    records, `seeds_asked` all; `statuses` counts records by status. A name that ends in `_std` is a
    standard deviation, None for one seed; one in `_half95` is half of an interval, None for fewer
    than three.

    Args:
        records: of the cells that have a result.
        cells: of the study; those without a record become pending.
    """
    known = {record.key for record in records}
    table = build_frame(records, [cell for cell in cells if cell.key not in known])
    if table.empty:
        return []
    keys = dict.fromkeys([cell.key for cell in cells] + [record.key for record in records])
    positions = {key: position for position, key in enumerate(keys)}
    table = table.assign(position=table["key"].map(positions))
    table = table.sort_values("position", kind="stable")
    numbers = table[[*NUMBER_FIELDS]].to_numpy(dtype=float, na_value=float("nan"))
    rows: list[Any] = table.to_dict("records")
    groups = group_by(
        range(len(rows)), lambda index: (rows[index]["question"], rows[index]["label"])
    )
    return _sort([_merge([rows[index] for index in group], numbers[group]) for group in groups])


def _summarise(numbers: "ndarray") -> tuple[float | None, float | None]:
    """Return mean and standard deviation of numbers, NaN left out; None where there is none."""
    values = numbers[numbers == numbers]
    mean = float(values.mean()) if len(values) else None
    return mean, float(values.std(ddof=1)) if len(values) > 1 else None


def _merge(group: Sequence[Row], numbers: "ndarray") -> dict[str, Any]:
    """Merge the rows of one question into one; `numbers` has their NUMBER_FIELDS."""
    first = group[0]
    is_done = [row["status"] == "done" for row in group]
    done = list(compress(group, is_done))
    summary = dict(zip(NUMBER_FIELDS, map(_summarise, numbers[is_done].T), strict=True))
    counts = Counter(str(row["status"]) for row in group)
    status = next(name for name in WORST_FIRST if name in counts)
    merged: dict[str, Any] = {name: _to_python(first[name]) for name in EQUAL_FIELDS} | {
        name: dict(first[name]) for name in EQUAL_OPTIONS
    }
    merged |= {
        "seeds": len(done),
        "seeds_asked": len(group),
        "seed_values": [int(row["seed"]) for row in group],
    }
    for name in MAX_FIELDS:
        values = [_to_python(row[name]) for row in done or group]
        merged[name] = max((value for value in values if value is not None), default=None)
    for name in MEAN_FIELDS:
        mean, _ = summary[name]
        merged[name] = round(mean) if name in INTEGER_FIELDS and mean is not None else mean
    deviations = {name: summary[name][1] for name in SPREAD_FIELDS}
    merged |= {f"{name}_std": deviation for name, deviation in deviations.items()}
    merged |= {
        f"{name}_half95": half_width_over_seeds(deviations[name], len(done))
        for name in INTERVAL_FIELDS
    }
    worst = min(
        (row for row in group if row["status"] == status), key=lambda row: row["reason"] == ""
    )
    merged |= {"status": status, "reason": str(worst["reason"]), "phase": str(worst["phase"])}
    notes = [row[name] for name in ("note", "findings") for row in group]
    notes += _count_texts([row["bottleneck"] for row in group])
    merged |= {
        "findings": _join_distinct(row["findings"] for row in group),
        "unbooked": max(int(row["unbooked"]) for row in group),
        "note": _join_distinct(notes),
        "measured_on": _join_distinct(row["measured_on"] for row in group),
    }
    return merged | {"statuses": dict(counts.most_common())}


def _count_texts(texts: Sequence[str]) -> list[str]:
    """Return the distinct texts that are not empty, with the number of seeds if there are more."""
    counts = Counter(text for text in texts if text)
    return [
        text if len(texts) == 1 else f"{text} ({count} of {len(texts)} seeds)"
        for text, count in counts.items()
    ]


def _join_distinct(texts: Iterable[Any]) -> str:
    """Join texts with semicolons, without empty texts and repetitions."""
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


def _to_python(value: Any) -> Any:
    """Return a scalar of pandas as one of Python; a missing one as None."""
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    return value.item() if hasattr(value, "item") else value


def budgeted_peak_bytes(row: Row) -> int | None:
    """Return the peak of a row in the convention of its budget."""
    own = {"planned": "peak_bytes", "eager": "peak_bytes_eager"}
    peak: int | None = row[own.get(row["convention"], f"{row['convention']}_bytes")]
    return peak


def is_reference(row: Row) -> bool:
    """Return whether a row is the unpruned network, run whole and in float32."""
    return row["method"] == UNPRUNED and not row["run_options"]


def row_name(label: str, ratio: float | None) -> str:
    """Return the label of a row, with its ratio if that is below 1."""
    return label if ratio in (None, 1.0) else f"{label}, ratio {ratio:g}"


def group_by(items: Iterable[Item], key: Callable[[Item], Any]) -> list[list[Item]]:
    """Group items of equal keys; groups and items keep the order in which they come."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def first_per_key(items: Iterable[Item], key: Callable[[Item], Any]) -> list[Item]:
    """Return the first item of each key."""
    return [group[0] for group in group_by(items, key)]


def section_key(row: Row) -> str:
    """Return a key that is equal for rows that may be compared.

    They have the same task, network, input, and convention of the budget.
    """
    return digest([row[name] for name in SECTION_FIELDS])


def _sort(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort by section, falling ratio and label; sections and labels keep their order."""
    sections = list(dict.fromkeys(section_key(row) for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    return sorted(
        rows,
        key=lambda row: (
            sections.index(section_key(row)),
            -row["ratio"],
            labels.index(row["label"]),
        ),
    )
