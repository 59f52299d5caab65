"""Cell: one experiment of a study. Record: its result. Both are frozen and convert to JSON.

The key of a cell is the SHA-256 of its canonical JSON and the schema version. The label and the
paths of the data and of a network file are not part of the key, because they do not change the
result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
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
NOT_IN_QUESTION = ("seed", *NOT_IN_KEY)
MAX_LABEL_LENGTH = 300  # characters
LATER_RECIPE_FIELDS = ("averaging", "channel_multiple", "distillation", "training_precision")
OPTIONAL_FIELDS = ("backbone_folder", "backbone_source", "run_options")  # left out if empty
PRECISION_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}  # of one value


def describe_outcome(status: str, phase: str, reason: str) -> str:
    """Describe why a cell has no result: "failed in finetune: the loss is nan"."""
    return f"{status} in {phase}: {reason}" if phase else f"{status}: {reason}"


@dataclass(frozen=True)
class RunOptions:
    """How a row runs its network, where not whole and in float32: options of the harness.

    Args:
        tiles: in the largest tiles that fit the budget (`bench.tiling.largest`).
        halo: input pixels that a tile discards on each side, at least; None for as many as make
            tiles exact.
        precision: of weights, activations, input and output. Training is in float32.
        prune_ratio: share of the unpruned peak that the network is pruned to, if its cell's ratio
            does not allow more; tiles do the rest.

    Raises:
        ValueError: a value is out of range, or has no effect without another option.
    """

    tiles: bool = False
    halo: int | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    prune_ratio: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("halo", "prune_ratio"):
            if getattr(self, name) is not None and not self.tiles:
                raise ValueError(f"{name} is for tiles; add tiles = true, or leave it out")
        if self.halo is not None and self.halo < 0:
            raise ValueError(f"a halo of {self.halo} pixels was asked for; give 0 or more")
        if self.prune_ratio is not None and not 0 < self.prune_ratio <= 1:
            raise ValueError(f"prune_ratio {self.prune_ratio} is outside (0, 1]")


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
        run_options: those of RunOptions that are not the default.
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
    run_options: Annotated[Mapping[str, Any], RunOptions] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The name of the record in the store: a SHA-256 as hex."""
        return digest({"schema": SCHEMA} | self.to_json(NOT_IN_KEY))

    @cached_property
    def question(self) -> str:
        """A hash that is equal for cells that differ in nothing but the seed."""
        return digest(self.to_json(NOT_IN_QUESTION))

    def to_json(self, exclude: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields as JSON values, without those in `exclude`.

        Fields that came later are left out where they are empty, and what a recipe gained later at
        its default, so that they do not change other cells' keys.
        """
        content = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        content["recipe"] = dict(vars(self.recipe))
        for name in LATER_RECIPE_FIELDS:
            if content["recipe"][name] == getattr(Recipe, name):
                del content["recipe"][name]
        return {
            name: value
            for name, value in content.items()
            if name not in exclude and (value or name not in OPTIONAL_FIELDS)
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
    def is_reference(self) -> bool:
        """Whether it is the unpruned network, run whole and in float32."""
        return self.method == UNPRUNED and not self.run_options

    @property
    def pruning_ratio(self) -> float:
        """The share of the unpruned peak, whole and in float32, that the method prunes to.

        Values of fewer bytes allow a larger network, and so does `prune_ratio` in tiles.
        """
        if self.method == UNPRUNED and self.run_options:
            return 1.0
        options = RunOptions(**self.run_options)
        allowed = self.ratio * PRECISION_BYTES["fp32"] / PRECISION_BYTES[options.precision]
        return min(1.0, max(allowed, options.prune_ratio or 0.0))

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
        RunOptions(**content.get("run_options", {}))
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


class Tiling(TypedDict, total=False):
    """How an image is cut into tiles.

    tile: input pixels (height, width), overlap included; count: of tiles; is_exact: whether they
    give what the whole image gives; buffer_bytes: of input and output, part of the peak.
    """

    tile: list[int]
    count: int
    is_exact: bool
    buffer_bytes: int


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
            conventions "planned" and "eager"; in tiles, that of a tile with input and output.
        as_run_peak_bytes: the same as PyTorch runs it (`bench.memory.as_run`), None if unknown.
        tiling: of a row in tiles.
        image_seconds, unpruned_image_seconds: for one image of `measured_at`, of the network as the
            row runs it and of the unpruned one, timed in turn (`bench.runner.image_time`).
        measured: executor -> peak_bytes that a real run allocated, image_seconds of one pass, and
            on: machine and protocol (`prunebench measure`).
        peak_step, timeline: name of the time step with the planned peak; every planned time step:
            step, op, bytes, live.
        parameters, parameters_stored: parameters that the network executes; parameters that must be
            stored, if more.
        macs: multiply-accumulates at `measured_at`, with what tiles compute twice.
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
    as_run_peak_bytes: int | None = None
    tiling: Annotated[Mapping[str, Any], Tiling] = field(default_factory=dict)
    image_seconds: float | None = None
    unpruned_image_seconds: float | None = None
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
