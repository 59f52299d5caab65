"""Cell: one question. Record: its answer. Both frozen, both plain JSON.

The key of a cell is the SHA-256 of its canonical JSON and the schema version. Its label and the
places of its data and of a network file are not part of the key: they do not change the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from bench.contract import Convention, Recipe, Shape
from bench.files.hashing import digest
from bench.files.schema import check_fields

SCHEMA = 2  # raise it when the harness or a task computes other answers than before: then all stored ones are old
UNPRUNED = "unpruned"  # the neutral method, the reference of every table
Status = Literal["done", "infeasible", "failed"]
NOT_IN_KEY = ("label", "data", "backbone_folder")
LONGEST_LABEL = 300
OF_A_FILE = (
    "backbone_folder",
    "backbone_source",
)  # of cells whose network is the user's own; the others do not name them


def refusal(status: str, phase: str, reason: str) -> str:
    """Why a cell has no answer: "failed in finetune: the loss is nan"."""
    return f"{status} in {phase}: {reason}" if phase else f"{status}: {reason}"


@dataclass(frozen=True)
class Cell:
    """One question: this method, on this network, at this share of its peak, with this seed.

    Args:
        task, task_options, backbone, backbone_options, method, method_options: what is asked of
            whom.
        label: how tables name the row.
        method_source: hash of the method's source, so that changed code is a new question.
        data: "embedded" or a folder; `data_fingerprint` is its content.
        convention: in which the budget is counted.
        measured_at: the input (N, C, H, W) at which it is counted.
        ratio: budget / unpruned peak.
        compute: "own" (each method's own fine-tuning) or "matched" (equal steps after pretraining).
        seed: from which all random streams are derived.
        recipe: how it is trained.
        backbone_folder, backbone_source: of a network of the user's own, where its file is and the
            hash of what is in it; else "".
    """

    task: str
    task_options: Mapping[str, Any]
    backbone: str
    backbone_options: Mapping[str, Any]
    method: str
    method_options: Mapping[str, Any]
    label: Annotated[str, LONGEST_LABEL]
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
        """Names the answer in the store."""
        return digest({"schema": SCHEMA} | self.content(NOT_IN_KEY))

    def content(self, without: Sequence[str] = ()) -> dict[str, Any]:
        """The fields that say something, but those that are named, as plain values."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in without and (value or name not in OF_A_FILE)
        }

    @property
    def trained_by(self) -> Recipe:
        """The recipe as methods see it: matched steps only where the study asks for matched compute."""
        return self.recipe if self.compute == "matched" else replace(self.recipe, matched_steps=0)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Cell":
        """The cell whose `content` was written as JSON.

        Raises ValueError, KeyError or TypeError if it is none.
        """
        check_fields(cls, content)
        return cls(
            **(
                dict(content)
                | {
                    "recipe": Recipe(**content["recipe"]),
                    "measured_at": tuple(content["measured_at"]),
                }
            )
        )


class TimeStep(TypedDict):
    """One entry of a timeline."""

    step: int
    op: str
    bytes: int
    live: Mapping[str, int]


class DiaryLine(TypedDict):
    """One entry of a trace."""

    peak_bytes: NotRequired[int]
    widths: Mapping[str, int]
    note: NotRequired[str]


class Figures(TypedDict):
    """What an executor measured."""

    peak_bytes: int
    image_seconds: NotRequired[float]
    on: str


class Circumstances(TypedDict, total=False):
    """Those parts of an environment that reports read."""

    note: str
    versions: Mapping[str, str | None]


@dataclass(frozen=True)
class Record:
    """The answer to one cell, measured by the harness.

    Numbers that do not exist (a failed or infeasible cell) are None.

    Args:
        cell: the question.
        status: "done"; "infeasible" (no network fits); "failed" (the method or its training broke).
            `reason` says why, and `phase` in what: "pretrain", "search", "adapt", "finetune",
            "evaluate", ... (`bench.runner.job`); empty where that is not known.
        budget_bytes: ratio x unpruned peak, in the cell's convention.
        peak_bytes, peak_bytes_eager: of the pruned network at `measured_at`, in the two
            conventions.
        measured: executor -> peak_bytes that a real run allocated, image_seconds of one pass, and
            on: machine and protocol (`prunebench measure`).
        peak_step: the time step of the planned peak. timeline: every planned time step: step, op,
            bytes, live.
        parameters: executed; parameters_stored: where more must be stored; macs:
            multiply-accumulates at `measured_at`.
        scores: test set -> photograph -> metric -> value. means: metric -> mean over the
            photographs of all test sets.
        input_means: the same without a network. calibration_loss: of the pruned network before the
            harness finished it.
        widths: unit -> channels left; kept: unit -> their indices; inserted: values with a
            compactor.
        units_at_floor: units at the recipe's least width.
        trace: the method's diary: peak_bytes, widths, note.
        steps, samples, forward_passes, seconds: what was spent, per phase, after the shared
            pretraining.
        environment: threads, device, versions, and all other circumstances.
    """

    cell: Cell
    status: Status
    reason: str = ""
    phase: str = ""
    budget_bytes: int | None = None
    peak_bytes: int | None = None
    peak_bytes_eager: int | None = None
    measured: Mapping[str, Annotated[Mapping[str, Any], Figures]] = field(default_factory=dict)
    peak_step: str | None = None
    timeline: tuple[Annotated[Mapping[str, Any], TimeStep], ...] = ()
    parameters: int | None = None
    parameters_stored: int | None = None
    macs: int | None = None
    scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)
    input_means: Mapping[str, float] = field(default_factory=dict)
    calibration_loss: float | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, list[int]] = field(default_factory=dict)
    inserted: tuple[str, ...] = ()
    units_at_floor: int | None = None
    trace: tuple[Annotated[Mapping[str, Any], DiaryLine], ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, int] = field(default_factory=dict)
    forward_passes: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Annotated[Mapping[str, Any], Circumstances] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The key of its cell."""
        return self.cell.key

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings."""
        return {"schema": SCHEMA, "key": self.key} | asdict(self) | {"cell": self.cell.content()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Record":
        """The record whose `to_json` was written.

        Raises ValueError, KeyError or TypeError if it is none.
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
