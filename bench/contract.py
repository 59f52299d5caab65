"""The contract between the harness, the methods and the tasks. Standard library and torch only.

A *method* turns a pretrained network into a smaller one whose peak memory fits a budget:

    @method("mine")
    @dataclass(frozen=True)
    class Mine(Method):
        paper = "A. Uthor, My Pruning, 2026"
        strength: float = 0.5                      # its fields are its options

        def prune(self, model, budget, trainer=NO_TRAINER):
            return Pruned(smaller, kept={"c11": [0, 2, 5]})

A *task* is a restoration problem: its backbones, training pairs, test sets, loss and score. The
harness measures what comes back; no method reports its own score. Peak memory is the largest sum of
bytes of live activations over the time steps of one forward pass; weights are not counted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, ClassVar, Literal, Protocol

from torch import Generator, Tensor, device, nn

from bench.errors import ConfigError, Infeasible

Shape = tuple[int, int, int, int]  # (N, C, H, W)
Inputs = Shape | tuple[Shape, ...]  # of a network: one, or several in the order of its arguments
Widths = Mapping[
    str, int
]  # unit name -> kept channels; channels that can only go together count as one
Kept = Mapping[
    str, Sequence[int]
]  # unit name -> sorted indices of the kept channels, in the unpruned numbering
Phase = Literal["pretrain", "adapt", "search", "finetune"]
Finish = Literal["finetune", "none", "scratch"]
Convention = Literal["planned", "eager"]
Objective = Callable[[nn.Module, Tensor, Tensor], Tensor]  # of (network, degraded, clean), a scalar


@dataclass(frozen=True)
class Budget:
    """The most memory that the activations of one forward pass may need, weights not counted."""

    peak_bytes: int
    input_shape: Inputs
    convention: Convention = (
        "planned"  # the least that a good executor needs; or "eager", the operators as written
    )


@dataclass(frozen=True)
class TraceStep:
    """One line of a method's diary: the peak and the widths that it had reached, and a note."""

    peak_bytes: int
    widths: Widths
    note: str = ""


@dataclass(frozen=True)
class Pruned:
    """What a method gives back: a plain network, without masks, hooks, hypernetwork or reparametrisation.

    Args:
        model: the smaller network (a torch.fx.GraphModule where compactors were inserted).
        finish: what the harness then does: "finetune"; "none"; "scratch" (new weights, pretraining
            and fine-tuning schedule).
        kept: unit -> kept channels in the unpruned numbering; units that are not named keep all.
        inserted: names of the values that got a compactor, in order of insertion. trace: the
            method's diary.
        stored_parameters: parameters that must be stored to have this network, where that is more
            than it executes.
    """

    model: nn.Module
    finish: Finish = "finetune"
    kept: Kept = field(default_factory=dict)
    inserted: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    stored_parameters: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Phases are counted in steps; `steps_per_epoch` translates papers.

    Each learning rate is halved `drops - 1` times, at equal distances within its phase. A method
    that trains after pretraining (`adapt_steps` once, `steps_per_epoch` after each round of a
    search) is metered. Where a study asks for matched compute, the harness fine-tunes for
    `matched_steps` less what the method has spent; otherwise `matched_steps` is 0, and it does so
    for `finetune_steps`.
    """

    patch: int = 64
    batch: int = 4
    pretrain_steps: int = 5000
    adapt_steps: int = 160
    finetune_steps: int = 320
    matched_steps: int = 0
    steps_per_epoch: int = 16
    pretrain_rate: float = 2e-3
    pretrain_drops: int = 7
    finetune_rate: float = 1e-3
    finetune_drops: int = 6
    calibration_crops: int = 16
    min_width: int = 1
    threads: int = 1

    @property
    def tuning_steps(self) -> int:
        """What every network is trained for after pretraining; where a method asks for no finish, by the method itself."""
        return self.matched_steps or self.finetune_steps


class Crops(Protocol):
    """A source of training crops."""

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """`count` random crops, float32 in [0, 1]: degraded, and clean (count, C, patch, patch); all randomness from `generator`."""


@dataclass(frozen=True)
class Pair:
    """One photograph: degraded and clean, float32 in [0, 1], each (C, H, W)."""

    name: str
    degraded: Tensor
    clean: Tensor


class Trainer(Protocol):
    """All that a method may know of a task: training data only, every use metered."""

    recipe: Recipe
    seed: int
    device: device

    @property
    def calibration(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Fixed batches of (degraded, clean) crops from the training side, clean ones (N, C, patch, patch)."""

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` random training batches of (degraded, clean)."""

    def criterion(self, restored: Tensor, clean: Tensor) -> Tensor:
        """The task's differentiable loss, a scalar."""

    def loss(self, model: nn.Module) -> float:
        """The criterion on the calibration crops, in eval mode, without gradient."""

    def remember(self, name: str, work: Callable[[], float]) -> float:
        """The number that `work` gives, drawing nothing: computed once even if the run is killed.

        `name` tells it from all others.
        """

    def reinitialise(self, model: nn.Module) -> None:
        """New weights by the backbone's own initialisation, seeded."""

    def learning_rates(self, phase: Phase, steps: int) -> Sequence[float]:
        """The learning rate of each of `steps` steps."""

    def fit(
        self,
        model: nn.Module,
        steps: int,
        *,
        phase: Phase,
        objective: Objective | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        after_step: Callable[[int, float], bool | None] | None = None,
        callback_state: Mapping[str, Any] | None = None,
    ) -> int:
        """Trains in place with a fresh Adam, `steps` at most; returns the steps done.

        Args:
            phase: what they are booked as; it chooses the learning rates.
            objective, penalty: the one replaces criterion(model(degraded), clean), the other is
                added to it.
            after_step: called with (index, learning rate) after each step; True ends the phase.
            callback_state: by name what callbacks draw from or change besides the network (Generators,
                tensors, lists, objects with state_dict and load_state_dict), and the plain values
                that tell what they do, such as what they take from a budget: trainings that begin
                alike are taken for one. Without it a killed training with callbacks begins anew.
        """

    def count_calls(self, model: nn.Module) -> AbstractContextManager[None]:
        """Counts the calls of a network inside.

        Plain copies of the one that was passed in are counted anyway.
        """

    def branch(self) -> AbstractContextManager[None]:
        """What is drawn and metered inside is forgotten at its end: one budget's own work inside a sweep."""


class NoTrainer:
    """Stands for "no data": usable by methods that look at weights alone.

    Raises ConfigError where data would be needed.
    """

    recipe = Recipe()
    seed = 0
    device = device("cpu")

    def branch(
        self,
    ) -> AbstractContextManager[None]:  # nothing is metered, so nothing is to be forgotten
        return nullcontext()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ConfigError(
            f"this method needs data to judge layers or to train (it asked for trainer.{name}); pass trainer=..."
        )


NO_TRAINER: Any = NoTrainer()


class Method(ABC):
    """A structural pruning method.

    Subclasses are frozen dataclasses: the fields are the options, the cache key and the printed
    name.
    """

    name: ClassVar[str]
    paper: ClassVar[str]

    @abstractmethod
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """A network whose peak is at most the budget's.

        The model that is passed in is left untouched.

        Raises:
            Infeasible: no network of the method's family fits.
        """

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Every budget once, largest first, by default with one prune each.

        What is yielded does not depend on the other budgets.
        """
        for budget in largest_first(budgets):
            with trainer.branch():
                try:
                    outcome: Pruned | Infeasible = self.prune(deepcopy(model), budget, trainer)
                except Infeasible as impossible:
                    outcome = impossible
                yield budget, outcome

    def expected_steps(self, recipe: Recipe) -> int:
        """Training steps after the shared pretraining that a budget will take, its finish included: for forecasts of time only."""
        return recipe.tuning_steps


def largest_first(budgets: Sequence[Budget]) -> list[Budget]:
    """The order in which a sweep serves its budgets."""
    return sorted(budgets, key=lambda budget: -budget.peak_bytes)


class Task(ABC):
    """A restoration problem: a frozen dataclass whose fields are the options.

    `data`: "embedded" (with the dependencies), or a folder.
    """

    name: ClassVar[str]
    size_multiple: ClassVar[int] = (
        1  # of which the backbones want the height and width of their input
    )
    recipe: ClassVar[Recipe]
    backbones: ClassVar[Mapping[str, Callable[..., nn.Module]]]
    fixed_options: ClassVar[
        Mapping[str, Any]
    ] = {}  # arguments of the backbones that are no options: the task decides them

    @property
    @abstractmethod
    def measured_at(self) -> Shape:
        """The input at which peak memory is measured."""

    @classmethod
    def options(cls, backbone: str) -> dict[str, Any]:
        """The options of a backbone with their defaults."""
        return {
            name: one.default
            for name, one in signature(cls.backbones[backbone]).parameters.items()
            if name not in cls.fixed_options
        }

    @abstractmethod
    def build(self, backbone: str, **options: Any) -> nn.Module:
        """A new network. Raises ConfigError for an unknown backbone or option."""

    @abstractmethod
    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """New weights in place, for any network that came from one of the backbones by surgery."""

    @abstractmethod
    def training_pairs(self, data: str) -> Crops:
        """Crops for gradient steps."""

    @abstractmethod
    def calibration_pairs(self, data: str) -> Crops:
        """Crops of training photographs for judging layers; never a test photograph."""

    @abstractmethod
    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Named test sets; the same pairs at every call."""

    def describe_data(self, data: str) -> str:
        """In one line what `data` is: which data set, from where, under which licence.

        Raises ConfigError if it is none.
        """
        return data

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """All that there is, by split: the test sets and, where known, "train" and "calibration"; read when it is looked at."""
        return self.test_sets(data)

    def baseline_image(self, degraded: Tensor) -> Tensor:
        """What a viewer has without a network, (C, H, W), as large as the clean image."""
        return degraded

    @abstractmethod
    def fingerprint(self, data: str) -> str:
        """A hash that changes when the photographs or their degradation change."""

    @abstractmethod
    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """A differentiable scalar of two (N, C, H, W)."""

    @abstractmethod
    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Metrics of one photograph, two (C, H, W): at least psnr_db and ssim."""
