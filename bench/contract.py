"""The contract between the harness, the methods and the tasks.

A *method* turns a pretrained network into a smaller one whose peak memory fits a budget:

    from dataclasses import dataclass
    from prunebench import NO_TRAINER, Method, Pruned, method

    @method("mine")
    @dataclass(frozen=True)
    class Mine(Method):
        paper = "A. Uthor, My Pruning, 2026"
        strength: float = 0.5                      # each field is an option

        def prune(self, model, budget, trainer=NO_TRAINER):
            return Pruned(smaller, kept={"c11": [0, 2, 5]})

A *task* is a restoration problem: its backbones (networks), training crops, test photographs, loss
and score. The harness measures the networks that methods return; no method reports its own score.

*Peak memory* is the largest sum of bytes of live activations over the time steps of one forward
pass. Weights are not counted. A *unit* is one independent width of a network: channels that can
only be removed together (those of two layers whose outputs are added, say) count as one channel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from bench.errors import ConfigError, Infeasible
from bench.files.remote_files import Download

if TYPE_CHECKING:  # tables are printed without loading torch, which takes a second
    import torch
    from torch import Generator, Tensor, nn

Shape = tuple[int, int, int, int]  # (N, C, H, W)
Inputs = Shape | tuple[Shape, ...]  # one input, or several in the order of the arguments
Widths = Mapping[str, int]  # unit name -> number of channels kept
Kept = Mapping[str, Sequence[int]]  # unit name -> sorted indices of kept channels
Phase = Literal["pretrain", "adapt", "search", "finetune"]
Convention = Literal["planned", "eager", "executorch", "onnxsim"]  # of memory, see Budget
# What the harness does with a pruned network: fine-tune it; nothing; train it from new weights.
Finish = Literal["finetune", "none", "scratch"]
Curve = Literal["steps", "cosine"]  # of the learning rate
TrainingPrecision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Budget:
    """The peak memory that a network may have.

    Convention "planned" counts the memory that a good executor needs, which overwrites values and
    lets views share memory; "eager" counts what PyTorch allocates for the operators as written;
    any other is the name of a runtime, and counts what that runtime plans (`bench.runtimes`).
    """

    peak_bytes: int
    input_shape: Inputs  # the input at which the peak is measured
    convention: Convention = "planned"
    # Above 1, `analyse_network` ties channels into blocks, which methods take for channels.
    channel_multiple: int = 1


@dataclass(frozen=True)
class TraceStep:
    """One step of a method's search, for its trace: the peak and the widths reached, and a note."""

    peak_bytes: int
    widths: Widths
    note: str = ""


@dataclass(frozen=True)
class Pruned:
    """The result of a method: a plain network, without masks, hooks or parametrisations."""

    model: nn.Module  # a torch.fx.GraphModule if compactors were inserted
    finish: Finish = "finetune"
    kept: Kept = field(default_factory=dict)  # numbered as before pruning; units not named keep all
    inserted: tuple[str, ...] = ()  # names of values that got a compactor (1x1 conv), in order
    trace: tuple[TraceStep, ...] = ()
    # What must be stored, if more than `model`: a network or its state dict, which is counted.
    stored_parameters: nn.Module | Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Recipe:
    """How networks are trained; all lengths are in steps, of one batch each.

    Pretraining is one learning-rate curve, all training after it another (see
    bench.training.learning_rates).
    """

    patch: int = 64  # height and width of a training crop, in pixels
    batch: int = 4  # crops
    pretrain_steps: int = 5000  # the pretraining that all methods share
    adapt_steps: int = 160  # training that a method may do once, before it prunes
    finetune_steps: int = 320  # fine-tuning by the harness, if matched_steps is 0
    matched_steps: int = 0  # if above 0: steps after pretraining, method and harness together
    steps_per_epoch: int = 16  # an "epoch" of a paper; what a search trains after each round
    pretrain_rate: float = 2e-3  # of Adam, at the start of the curve
    pretrain_curve: Curve = "steps"  # halved at equal distances; or "cosine"
    pretrain_halvings: int = 6
    pretrain_warmup: int = 200  # steps in which the rate rises from 0
    tuning_rate: float = 1e-3  # "tuning" is all training after pretraining
    tuning_curve: Curve = "steps"
    tuning_halvings: int = 1  # as in the MOSP paper: once, at half
    tuning_warmup: int = 0
    max_gradient_norm: float = 0.1  # of all weights together, clipped; 0: not clipped
    averaging: float = 0.0  # decay of the moving average of the weights that `fit` leaves; 0: none
    calibration_crops: int = 16  # on which a method judges layers
    min_width: int = 1  # of a unit, in channels
    channel_multiple: int = 1  # of the widths of what is pruned: 1, 2, 4, 8 or 16
    distillation: float = 0.0  # share of the unpruned network's output in what tuning aims at
    training_precision: TrainingPrecision = "fp32"  # of passes in `fit`; weights stay in float32
    threads: int = 1  # of PyTorch on the CPU

    @property
    def tuning_steps(self) -> int:
        """Steps of each network after pretraining; the method trains them if finish is "none"."""
        return self.matched_steps or self.finetune_steps


class Crops(Protocol):
    """A source of training crops, float32 in [0, 1]; noise may take degraded ones beyond."""

    def sample(self, count: int, patch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw (degraded, clean) with `generator` alone; clean is (count, C, patch, patch)."""


def find_scene(name: str) -> str:
    """Return the scene of a photograph: the part of its name before the last "/", else the name.

    Photographs of one scene resemble each other: they are held out together and tested as one.
    """
    return name.rpartition("/")[0] or name


@dataclass(frozen=True)
class Pair:
    """One photograph, degraded and clean: float32, each (C, H, W), the clean one in [0, 1]."""

    name: str
    degraded: Tensor
    clean: Tensor


class Objective(Protocol):
    """What a training minimises."""

    def __call__(self, network: nn.Module, degraded: Tensor, clean: Tensor, /) -> Tensor:
        """Return a scalar."""


class Trainer(Protocol):
    """A method's only access to a task: training data, and every use is counted as its cost."""

    recipe: Recipe
    seed: int
    device: torch.device

    @property
    def calibration(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Batches (degraded, clean) of calibration crops, the same at every access."""

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw `count` random batches (degraded, clean); clean is (N, C, patch, patch)."""

    def criterion(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Return the task's loss, a differentiable scalar."""

    def loss(self, model: nn.Module) -> float:
        """Return the mean criterion on the calibration crops, in eval mode, without gradient."""

    def remember(self, name: str, work: Callable[[], float]) -> float:
        """Return the number that `work()` computes, or the stored one if a killed run had it.

        `name` must be unique within the job; `work` must not draw random numbers.
        """

    def reinitialise(self, model: nn.Module) -> None:
        """Draw new weights in place, by the backbone's own rule and the seed."""

    def learning_rates(self, phase: Phase, steps: int) -> Sequence[float]:
        """Return the learning rate of each of the next `steps` steps, if they are of this phase."""

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
        averaged: bool = True,
    ) -> int:
        """Train the model in place with a new Adam and return the number of steps done.

        With `recipe.averaging` the model ends with the moving average of its weights, in every
        phase but "search".

        Args:
            model: the network to train.
            steps: the most that are done.
            phase: the steps are recorded under this name; it chooses the learning-rate curve.
            objective: the loss; by default criterion(model(degraded), clean).
            penalty: is added to the loss.
            after_step: called with (index, learning rate) after each step; True ends the training.
            callback_state: lets a killed training with callbacks resume; without it, it restarts.
                Name -> what the callbacks draw from or change besides the model (Generators,
                tensors, lists, objects with state_dict and load_state_dict), and every plain value
                that decides what they do (a number taken from the budget, say). A checkpoint is
                resumed only if the training starts from the same state, these values included.
            averaged: False for no average, where callbacks change the weights by themselves.
        """

    def fit_in_parts(
        self, model: nn.Module, steps: int, *, phase: Phase, **callbacks: Any
    ) -> Iterator[int]:
        """Train as `fit` does, without an average, and yield the steps done after each part.

        A part ends where `after_step` returns True, the last one after `steps`. All have one
        optimizer and one learning-rate curve. In between, use copies of the network in `branch()`.
        `callbacks` are objective, after_step and callback_state, which each part reads anew.
        """

    def count_calls(self, model: nn.Module) -> AbstractContextManager[None]:
        """Count the forward passes of a model not copied from the one passed to the method."""

    def branch(self) -> AbstractContextManager[None]:
        """Restore random states and costs at the end of the block: for one budget of a sweep."""


class NoTrainer:
    """A trainer without data, for methods that look only at weights."""

    recipe = Recipe()
    seed = 0

    def branch(self) -> AbstractContextManager[None]:
        """Do nothing: no random number is drawn and no cost is counted."""
        return nullcontext()

    def __getattr__(self, name: str) -> Any:
        """Return the CPU as `device`; raise ConfigError, because everything else needs data."""
        if name == "device":
            from torch import device

            return device("cpu")
        if name.startswith("__"):
            raise AttributeError(name)
        raise ConfigError(
            "this method needs data to judge layers or to train "
            f"(it asked for trainer.{name}); pass trainer=..."
        )


NO_TRAINER: Any = NoTrainer()


@dataclass(frozen=True)
class Departure:
    """A difference between a method and its paper."""

    paper: str  # what the paper does
    here: str
    why: str
    effect: str  # what it changes, as measured, or "not measured"


class Method(ABC):
    """A structural pruning method: a frozen dataclass whose fields are its options."""

    name: ClassVar[str]  # set by @method
    paper: ClassVar[str]
    departures: ClassVar[tuple[Departure, ...]] = ()

    @abstractmethod
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Return a network within the budget, or raise Infeasible; leave `model` unchanged."""

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Yield (budget, result) for every budget, largest first; by default, prune for each.

        A result must not depend on the other budgets. To share work, see bench.method_bases.
        """
        for budget in largest_first(budgets):
            with trainer.branch():
                try:
                    outcome: Pruned | Infeasible = self.prune(deepcopy(model), budget, trainer)
                except Infeasible as infeasible:
                    outcome = infeasible
                yield budget, outcome

    def scoring_passes(self, recipe: Recipe) -> int:
        """Declare how many backward passes one result needs outside `trainer.fit`, at most.

        Gradient scores of your own need them; by default one for each calibration crop. Scores of
        the harness are known. A row with more is marked.
        """
        return recipe.calibration_crops

    def expected_steps(self, recipe: Recipe) -> int:
        """Estimate the training steps of one budget after pretraining, to forecast run times."""
        return recipe.tuning_steps


def largest_first(budgets: Sequence[Budget]) -> list[Budget]:
    """Return the budgets in the order of a sweep: largest first."""
    return sorted(budgets, key=lambda budget: -budget.peak_bytes)


class Task(ABC):
    """A restoration problem: a frozen dataclass whose fields are its options.

    The argument `data` is "embedded" (photographs that come with the dependencies) or a folder.
    """

    name: ClassVar[str]  # set by @task
    size_multiple: ClassVar[int] = 1  # height and width of inputs must be multiples of this
    recipe: ClassVar[Recipe]
    backbones: ClassVar[Mapping[str, Callable[..., Any]]]  # name -> what builds the network
    fixed_options: ClassVar[Mapping[str, Any]] = {}  # backbone arguments that the task decides
    downloads: ClassVar[tuple[Download, ...]] = ()  # data sets that the task reads

    @property
    @abstractmethod
    def measured_at(self) -> Shape:
        """Input shape (N, C, H, W) at which peak memory is measured."""

    @classmethod
    def options(cls, backbone: str) -> dict[str, Any]:
        """Return the options of a backbone with their defaults."""
        return {
            name: parameter.default
            for name, parameter in signature(cls.backbones[backbone]).parameters.items()
            if name not in cls.fixed_options
        }

    @abstractmethod
    def build(self, backbone: str, **options: Any) -> nn.Module:
        """Build a new network. Raises ConfigError for an unknown backbone or option."""

    @abstractmethod
    def initialise(self, model: nn.Module, generator: Generator) -> None:
        """Draw new weights in place, for a backbone of the task or a pruned version of one."""

    @abstractmethod
    def training_pairs(self, data: str) -> Crops:
        """Return the crops for training."""

    @abstractmethod
    def calibration_pairs(self, data: str) -> Crops:
        """Return the crops on which methods judge layers; never of test photographs."""

    @abstractmethod
    def test_sets(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return test set name -> its photographs, the same at every call."""

    def describe_data(self, data: str) -> str:
        """Name the data set, its origin and licence in one line. Raises ConfigError if unusable."""
        return data

    def photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return split -> photographs: the test sets and, if known, "train" and "calibration"."""
        return self.test_sets(data)

    def all_photographs(self, data: str) -> Mapping[str, Sequence[Pair]]:
        """Return what `test_sets` does, and the photographs that `data` has to train on.

        A network that was trained on other data may be tested on all of them.
        """
        return self.test_sets(data)

    def baseline_image(self, degraded: Tensor) -> Tensor:
        """Return what a viewer would see without a network, (C, H, W), as large as `clean`."""
        return degraded

    @abstractmethod
    def fingerprint(self, data: str) -> str:
        """Return a hash that changes if the photographs or their degradation change."""

    @abstractmethod
    def loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Return a differentiable scalar; both inputs are (N, C, H, W)."""

    @abstractmethod
    def score(self, restored: Tensor, clean: Tensor) -> Mapping[str, float]:
        """Return the metrics of one photograph, at least psnr_db and ssim; inputs are (C, H, W)."""
