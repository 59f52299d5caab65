"""Records as a table in memory: the only door to pandas.

`frame` has one row per record. `rows` has one row per question: the records that differ in nothing
but the seed are averaged, and a cell that has no record yet is a row that says "pending". Two
records whose recipes, data or method sources differ answer different questions and are never
averaged.

Over several seeds: peaks are the largest of the seeds (a budget binds every seed), all other
numbers are means; beside them the sample standard deviation (n - 1) and half of the 95 % interval
of the mean. Only finished records count. The status is the worst one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from bench.files.hashing import digest
from bench.records import NOT_IN_KEY, Cell, Record
from bench.report.statistics import half_width
from bench.units import format_shape

if TYPE_CHECKING:
    from pandas import DataFrame

Item = TypeVar("Item")
REFERENCE = "mosp"  # the method that the others are compared with
NOT_IN_QUESTION = ("seed", *NOT_IN_KEY)
WORST_FIRST = ("failed", "infeasible", "pending", "done")
EXECUTORS = {
    "measured": "pytorch",
    "lean": "lean",
    "onnx": "onnx",
}  # how columns begin -> what ran the network (bench.runner.measure)
MEASURED = tuple(f"{name}_bytes" for name in EXECUTORS)
TIMED = tuple(f"{name}_image_seconds" for name in EXECUTORS)
LARGEST = ("budget_bytes", "peak_bytes", "peak_bytes_eager", *MEASURED)
COSTS = ("steps", "samples", "forward_passes", "seconds")  # all phases after the shared pretraining
WHOLE = (*LARGEST, "parameters", "parameters_stored", "macs", "pretrain_steps_spent", *COSTS[:3])
AVERAGED = (
    "psnr_db",
    "ssim",
    "input_psnr_db",
    "input_ssim",
    "seconds",
    *TIMED,
    *WHOLE[len(LARGEST) :],
)
SPREAD = ("peak_bytes", "parameters", "parameters_stored", "psnr_db", "ssim", *COSTS)
SAME = (
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
SAME_OPTIONS = ("task_options", "backbone_options", "method_options", "recipe")


def frame(records: Iterable[Record], pending: Iterable[Cell] = ()) -> "DataFrame":
    """One row per record, and one per pending cell: the fields of its cell, what was measured, the totals of what was spent.

    Bytes and counts are nullable integers, `psnr_db`, `ssim`, `input_psnr_db` and `input_ssim` the
    means of the record.
    """
    import pandas as pd

    table = pd.DataFrame(
        [_row(record.cell, record) for record in records] + [_row(cell, None) for cell in pending]
    )
    return table.astype({name: "Int64" for name in WHOLE if name in table})


def asked(cell: Cell) -> dict[str, Any]:
    """The fields of a cell, as a row has them."""
    return asdict(cell) | {"measured_at": format_shape(cell.measured_at)}


def question(cell: Cell) -> str:
    """Equal for cells that differ in nothing but the seed."""
    return digest(cell.content(NOT_IN_QUESTION))


def _row(cell: Cell, record: Record | None) -> dict[str, Any]:
    """One line of the frame; without a record its numbers are None."""
    nothing = dict.fromkeys((*LARGEST, *AVERAGED)) | {
        "status": "pending",
        "reason": "",
        "phase": "",
        "note": "",
        "measured_on": "",
    }
    return (
        {"key": cell.key, "question": question(cell)}
        | asked(cell)
        | (_answer(record) if record else nothing)
    )


def _answer(record: Record) -> dict[str, Any]:
    """What a record adds to its cell."""
    done = record.status == "done"
    peaks = ("budget_bytes", "peak_bytes", "peak_bytes_eager")
    figures = {
        name: getattr(record, name)
        for name in (*peaks, "parameters", "parameters_stored", "macs", "status", "reason", "phase")
    }
    scores = {name: record.means.get(name) for name in ("psnr_db", "ssim")}
    degraded = {f"input_{name}": record.input_means.get(name) for name in ("psnr_db", "ssim")}
    spent: dict[str, float | None] = {
        "pretrain_steps_spent": record.steps.get("pretrain", 0),
        "forward_passes": record.forward_passes,
    }
    spent |= {name: sum(getattr(record, name).values()) for name in ("steps", "samples", "seconds")}
    if not done:
        spent = dict.fromkeys(spent)
    note = str(record.environment.get("note", ""))
    return figures | _measured(record) | scores | degraded | spent | {"note": note}


def _measured(record: Record) -> dict[str, Any]:
    """What real runs of its network took; None where there was none."""
    found = {begin: record.measured.get(executor, {}) for begin, executor in EXECUTORS.items()}
    figures = {f"{begin}_bytes": one.get("peak_bytes") for begin, one in found.items()}
    seconds = {f"{begin}_image_seconds": one.get("image_seconds") for begin, one in found.items()}
    places = dict.fromkeys(str(one["on"]) for one in found.values() if one)
    return figures | seconds | {"measured_on": "; ".join(places)}


def rows(records: Sequence[Record], cells: Sequence[Cell] = ()) -> list[dict[str, Any]]:
    """One plain dictionary per question, sorted by task and backbone, then ratio (largest first), then label.

    Tasks, backbones and labels keep the order of `cells` (or of the records). `seeds` counts the
    finished records, `seeds_asked` all; `statuses` counts records by status; a name that ends in
    `_std` is a standard deviation, one in `_half95` half of an interval, both None for fewer than
    two seeds.

    Args:
        records: what has been answered.
        cells: what has been asked; those without a record are pending.
    """
    answered = {record.key for record in records}
    table = frame(records, [cell for cell in cells if cell.key not in answered])
    if table.empty:
        return []
    place = {
        key: index
        for index, key in enumerate(
            dict.fromkeys([cell.key for cell in cells] + [record.key for record in records])
        )
    }
    table = table.assign(place=table["key"].map(place)).sort_values("place", kind="stable")
    merged = [_merge(group) for _, group in table.groupby(["question", "label"], sort=False)]
    return _sorted(merged)


def _merge(group: "DataFrame") -> dict[str, Any]:
    """The rows of one question as one."""
    first = group.iloc[0]
    done = group[group["status"] == "done"]
    counts = group["status"].value_counts()
    status = next(name for name in WORST_FIRST if name in counts)
    merged: dict[str, Any] = {name: _plain(first[name]) for name in SAME} | {
        name: dict(first[name]) for name in SAME_OPTIONS
    }
    merged |= {
        "seeds": len(done),
        "seeds_asked": len(group),
        "seed_values": [int(seed) for seed in group["seed"]],
    }
    merged |= {name: _plain((done if len(done) else group)[name].max()) for name in LARGEST}
    merged |= {name: _mean(done[name], name in WHOLE) for name in AVERAGED}
    merged |= {
        f"{name}_std": _plain(done[name].astype("Float64").std()) if len(done) > 1 else None
        for name in SPREAD
    }
    spread = {name: merged[f"{name}_std"] for name in SPREAD}
    merged |= {
        f"{name}_half95": None if std is None else half_width(std, len(done))
        for name, std in spread.items()
    }
    worst = (
        group[group["status"] == status]
        .sort_values("reason", key=lambda reasons: reasons == "", kind="stable")
        .iloc[0]
    )
    merged |= {"status": status, "reason": str(worst["reason"]), "phase": str(worst["phase"])}
    merged["note"] = "; ".join(dict.fromkeys(str(note) for note in group["note"] if note))
    merged["measured_on"] = "; ".join(
        dict.fromkeys(str(where) for where in group["measured_on"] if where)
    )
    return merged | {"statuses": {name: int(counts[name]) for name in counts.index}}


def _mean(column: Any, whole: bool) -> float | int | None:
    """The mean of what is there; of counts, rounded."""
    mean = _plain(column.astype("Float64").mean())
    return None if mean is None else round(mean) if whole else float(mean)


def _plain(value: Any) -> Any:
    """A pandas scalar as Python's own; missing is None."""
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    return value.item() if hasattr(value, "item") else value


def row_name(label: str, ratio: float | None) -> str:
    """A row in words: its label, and its ratio where that is below 1."""
    return label if ratio in (None, 1.0) else f"{label}, ratio {ratio:g}"


def grouped(items: Iterable[Item], key: Callable[[Item], Any]) -> list[list[Item]]:
    """Items of equal keys together, in the order in which they and their keys come."""
    groups: dict[Any, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def first_of_each(items: Iterable[Item], key: Callable[[Item], Any]) -> list[Item]:
    """The first item of each key."""
    return [group[0] for group in grouped(items, key)]


def section(row: Mapping[str, Any]) -> str:
    """Rows of equal sections may be compared: same task, network, input and convention of the budget."""
    return digest(
        [
            row[name]
            for name in (
                "task",
                "task_options",
                "backbone",
                "backbone_options",
                "measured_at",
                "convention",
            )
        ]
    )


def _sorted(merged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By section, falling ratio, label; sections and labels in the order in which they come."""
    sections = list(dict.fromkeys(section(row) for row in merged))
    labels = list(dict.fromkeys(row["label"] for row in merged))
    return sorted(
        merged,
        key=lambda row: (sections.index(section(row)), -row["ratio"], labels.index(row["label"])),
    )
