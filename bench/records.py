"""Cell: one experiment of a study. Record: its result. Both are frozen and convert to JSON.

The key of a cell is the SHA-256 of its canonical JSON and the schema version. The label and the
paths of the data and of a network file are not part of the key, because they do not change the
result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from bench.contract import Convention, Recipe, Shape
from bench.errors import printable
from bench.files.hashing import digest
from bench.files.schema import check_fields

# Raise this when the harness or a task computes other results than before: all stored records then
# count as outdated.
SCHEMA = 4
UNPRUNED = "unpruned"  # the reference method of every table
Status = Literal["done", "infeasible", "failed"]
NOT_IN_KEY = ("label", "data", "backbone_folder")
MAX_LABEL_LENGTH = 300  # characters
NETWORK_FILE_FIELDS = ("backbone_folder", "backbone_source")  # only of cells with a network file


def describe_outcome(status: str, phase: str, reason: str) -> str:
    """Describe why a cell has no result: "failed in finetune: the loss is nan"."""
    return f"{status} in {phase}: {reason}" if phase else f"{status}: {reason}"


@dataclass(frozen=True)
class Cell:
    """One experiment: a method prunes a backbone to a share of its peak memory, with one seed.

    Args:
        task, task_options: the restoration problem.
        backbone, backbone_options: the network that is pruned.
        method, method_options: the pruning method.
        label: the name of the row in tables.
        method_source: hash of the method's source code: changed code makes a new cell.
        data, data_fingerprint: "embedded" or a folder; the hash of its content.
        convention, measured_at: how peak memory is counted, and for which input (N, C, H, W).
        ratio: budget / peak memory of the unpruned network.
        compute: "own" (each method's own fine-tuning) or "matched" (equal steps after pretraining).
        seed: all random streams are derived from it.
        recipe: how networks are trained.
        backbone_folder, backbone_source: for a network file of the user, its folder and the hash of
            its code and weights; else "".
    """

    task: str
    task_options: Mapping[str, Any]
    backbone: str
    backbone_options: Mapping[str, Any]
    method: str
    method_options: Mapping[str, Any]
    label: Annotated[str, MAX_LABEL_LENGTH]
    method_source: str
    data: str
    data_fingerprint: str
    convention: Convention
    measured_at: Shape
    ratio: float
    compute: Literal["own", "matched"]
    seed: int
    recipe: Recipe
    backbone_folder: str = ""
    backbone_source: str = ""

    @property
    def key(self) -> str:
        """The name of the record in the store: a SHA-256 as hex."""
        return digest({"schema": SCHEMA} | self.to_json(NOT_IN_KEY))

    def to_json(self, exclude: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields as JSON values, without those in `exclude`.

        Empty fields of a network file and what a recipe gained later, at its default, are left
        out, so that they do not change other cells' keys.
        """
        content = asdict(self)
        for name in ("averaging", "channel_multiple"):
            if getattr(self.recipe, name) == getattr(Recipe(), name):
                del content["recipe"][name]
        return {
            name: value
            for name, value in content.items()
            if name not in exclude and (value or name not in NETWORK_FILE_FIELDS)
        }

    @property
    def network_origin(self) -> dict[str, Any]:
        """What builds the unpruned network: the arguments of `bench.export.saved.save`."""
        return {
            "task": self.task,
            "task_options": self.task_options,
            "backbone": self.backbone,
            "backbone_options": self.backbone_options,
        }

    @property
    def effective_recipe(self) -> Recipe:
        """The recipe that methods get.

        `matched_steps` is 0 unless compute is "matched"; `min_width` counts blocks of channels.
        """
        return replace(
            in_blocks(self.recipe),
            matched_steps=self.recipe.matched_steps if self.compute == "matched" else 0,
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Cell":
        """Return the cell of a result of `to_json`.

        Raises ValueError, KeyError or TypeError if the content is not a cell.
        """
        check_fields(cls, content)
        values = dict(content) | {
            "recipe": Recipe(**content["recipe"]),
            "measured_at": tuple(content["measured_at"]),
            "label": printable(content["label"]),
        }
        return cls(**values)


def in_blocks(recipe: Recipe) -> Recipe:
    """Return a recipe whose `min_width` counts the blocks that methods take for channels."""
    return replace(recipe, min_width=-(-recipe.min_width // recipe.channel_multiple))


class TimelineEntry(TypedDict):
    """One entry of a timeline: the time step, its operator, bytes alive, bytes of each value."""

    step: int
    op: str
    bytes: int
    live: Mapping[str, int]


class TraceEntry(TypedDict):
    """One entry of a trace, see TraceStep of the contract."""

    peak_bytes: NotRequired[int]
    widths: Mapping[str, int]
    note: NotRequired[str]


class Measurement(TypedDict):
    """What an executor measured; `on` names the machine and the protocol."""

    peak_bytes: int
    image_seconds: NotRequired[float]
    on: str


class EnvironmentTable(TypedDict, total=False):
    """The parts of an environment that reports read."""

    note: str
    versions: Mapping[str, str | None]


@dataclass(frozen=True)
class Record:
    """The result of one cell, measured by the harness.

    Numbers that do not exist (of a failed or infeasible cell) are None.

    Args:
        cell: the experiment.
        status: "done"; "infeasible" (no network fits); "failed" (the method or its training broke).
        reason, phase: if not done, why and in which phase: "pretrain", "search", "adapt",
            "finetune", "evaluate", ... (`bench.runner.job`); phase is "" if unknown.
        budget_bytes: ratio x unpruned peak, in the cell's convention.
        peak_bytes, peak_bytes_eager: peak memory of the pruned network at `measured_at`, in the
            conventions "planned" and "eager".
        measured: executor -> peak_bytes that a real run allocated, image_seconds of one pass, and
            on: machine and protocol (`prunebench measure`).
        peak_step, timeline: name of the time step with the planned peak; every planned time step:
            step, op, bytes, live.
        parameters, parameters_stored: parameters that the network executes; parameters that must be
            stored, if more.
        macs: multiply-accumulates at `measured_at`.
        scores: test set -> photograph -> metric -> value.
        means: metric -> mean over the photographs of all test sets.
        input_means: the same for the degraded photographs, without a network.
        calibration_loss: of the pruned network before the harness finished it.
        calibration_psnr: how its quality grew while the harness trained it: (steps done, mean PSNR
            in dB over the calibration crops).
        training_losses: phase -> (steps done, mean training loss since the point before).
        widths, kept: unit -> number of channels left; unit -> their indices before pruning.
        bottleneck, bottleneck_channels: the units of the narrowest place at full resolution, and
            how many channels it has (`bench.channels.bottleneck`); () and None if there is none.
        inserted: values behind which a compactor was inserted.
        units_at_floor: number of units at the recipe's least width.
        trace: the steps of the method's search: peak_bytes, widths, note.
        steps, rate_sums, samples, forward_passes, seconds: cost after the shared pretraining, by
            phase; rate_sums has the sum of the learning rates of all steps.
        findings: what the harness saw the method do beyond the rules, a sentence each.
        unbooked: kind -> amount of work that was seen and not booked ("optimizer steps"): such a
            row is not equally trained.
        environment: threads, device, versions and everything else about the run.
    """

    cell: Cell
    status: Status
    reason: str = ""
    phase: str = ""
    budget_bytes: int | None = None
    peak_bytes: int | None = None
    peak_bytes_eager: int | None = None
    measured: Mapping[str, Annotated[Mapping[str, Any], Measurement]] = field(default_factory=dict)
    peak_step: str | None = None
    timeline: tuple[Annotated[Mapping[str, Any], TimelineEntry], ...] = ()
    parameters: int | None = None
    parameters_stored: int | None = None
    macs: int | None = None
    scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    input_means: Mapping[str, float] = field(default_factory=dict)
    calibration_loss: float | None = None
    calibration_psnr: tuple[list[float], ...] = ()
    training_losses: Mapping[str, list[list[float]]] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, list[int]] = field(default_factory=dict)
    bottleneck: tuple[str, ...] = ()
    bottleneck_channels: int | None = None
    inserted: tuple[str, ...] = ()
    units_at_floor: int | None = None
    trace: tuple[Annotated[Mapping[str, Any], TraceEntry], ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
    rate_sums: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    forward_passes: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    unbooked: Mapping[str, int] = field(default_factory=dict)
    environment: Annotated[Mapping[str, Any], EnvironmentTable] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The key of its cell."""
        return self.cell.key

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with its schema version and key."""
        return {"schema": SCHEMA, "key": self.key} | asdict(self) | {"cell": self.cell.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Record":
        """Return the record of a result of `to_json`.

        Raises ValueError, KeyError or TypeError if the content is not a record.
        """
        check_fields(cls, content)
        known = {entry.name for entry in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
            if name in known
        }
        values["cell"] = Cell.from_json(content["cell"])
        return cls(**values)
