"""What the checks of a method look at: a few calls of it, each made once, as the harness makes them.

    swept       one sweep over three budgets, handed over in a mixed order
    alone       prune(), for the middle one of these budgets
    again       the same once more
    begun_anew  the sweep over the three budgets, after prune() for the middle one was killed in the middle of its training
    eager       prune(), for a budget of the other convention
    otherwise   a sweep over the least of them, another one, and one that is not possible

Every call gets a fresh copy of the small network and a new trainer, with torch's random numbers
seeded as in a run. What a call leaves behind (in the network and the crops, in the state of torch,
at the guarded task, at the trainer) is noted; the state of torch is put back.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Budget, Kept, Method, Pruned
from bench.memory.profile import peak_memory
from bench.plugins.options import configured, plain
from bench.runner.referee import HOOKS
from bench.surgery.compactors import insert
from bench.surgery.remove import remove_channels
from bench.testing.check_runner import Finding, Skipped
from bench.testing.fixtures import RECIPE, SHAPE, small_budgets, small_network
from bench.testing.spies import GuardedTask, Killed, MortalTrainer, WatchedTrainer
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer

RATIOS = (0.7, 0.9, 0.6)
OTHER_RATIO = 0.8
MIDDLE, LEAST = 0, 2
MOST_ANSWERS = 10  # of a sweep that does not end
SEED = 0
STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "cudnn.deterministic": (
        lambda: torch.backends.cudnn.deterministic,
        lambda on: setattr(torch.backends.cudnn, "deterministic", on),
    ),
    "cudnn.benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda on: setattr(torch.backends.cudnn, "benchmark", on),
    ),
}
Outcome = tuple[
    Any, Any
]  # what a sweep yields: a budget and a Pruned or Infeasible, if it keeps the contract


@dataclass(frozen=True)
class Call:
    """One call of a method: what came back, in order, or the exception that it ended in."""

    outcomes: tuple[Outcome, ...]
    error: Exception | None = None

    def pruned(self) -> dict[Budget, Pruned]:
        """The networks that came back."""
        return {budget: outcome for budget, outcome in self.outcomes if isinstance(outcome, Pruned)}


class Evidence:
    """A method, and the calls of it that have been made.

    Args:
        cls: the method.
        options: of it, as a study has them.
    """

    def __init__(self, cls: type[Method], options: Mapping[str, Any]) -> None:
        self.cls, self.options = cls, dict(options)
        self.findings: dict[str, Finding] = {}
        self.network = small_network()
        self.task = GuardedTask()
        self.touched: list[str] = []  # what they changed in what was passed in
        self.disturbed: list[str] = []  # what they changed in the state of torch
        self.outside: list[
            str
        ] = []  # what they took from the trainer that the contract does not name
        self._compacted = cache(self._with_compactors)

    @property
    def name(self) -> str:
        """For messages."""
        return str(getattr(self.cls, "name", self.cls.__name__))

    @cached_property
    def method(self) -> Method:
        """With the options. Raises ConfigError."""
        return configured(self.cls, self.options, f"method {self.name}")

    @cached_property
    def options_before(self) -> dict[str, Any]:
        """The options as they were before any call."""
        return plain(self.method)

    @cached_property
    def budgets(self) -> list[Budget]:
        """Those of `swept`, in the order in which they are handed over."""
        return small_budgets(self.network, *RATIOS)

    @cached_property
    def other_budgets(self) -> list[Budget]:
        """Those of `otherwise`."""
        return [self.budgets[LEAST], self.impossible, *small_budgets(self.network, OTHER_RATIO)]

    @cached_property
    def impossible(self) -> Budget:
        """Less than the input of the network."""
        return replace(self.budgets[LEAST], peak_bytes=1)

    @cached_property
    def eager_budget(self) -> Budget:
        """Of the convention "eager"; its peak is a third larger."""
        return Budget(
            int(RATIOS[MIDDLE] * peak_memory(self.network, SHAPE, "eager")), SHAPE, "eager"
        )

    @cached_property
    def swept(self) -> Call:
        """Of one sweep over the three budgets."""
        return self._call(
            lambda model, trainer: self.method.sweep(model, list(self.budgets), trainer)
        )

    @cached_property
    def alone(self) -> Call:
        """Of prune() for the middle budget."""
        return self._call(lambda model, trainer: self._prune(model, self.budgets[MIDDLE], trainer))

    @cached_property
    def again(self) -> Call:
        """Of the same once more."""
        return self._call(lambda model, trainer: self._prune(model, self.budgets[MIDDLE], trainer))

    @cached_property
    def begun_anew(self) -> Call:
        """Of the sweep, from the checkpoints that prune() left when it was killed half-way through its training batches."""

        def ask(model: nn.Module, trainer: Any) -> Iterator[Outcome]:
            return self._prune(model, self.budgets[MIDDLE], trainer)

        with TemporaryDirectory() as folder:
            counting, kept = (
                MortalTrainer(self.task, "embedded", RECIPE, SEED),
                Checkpoints(Path(folder), every_seconds=0),
            )
            self._call(ask, counting)
            with suppress(Killed):
                self._call(
                    ask,
                    MortalTrainer(
                        self.task,
                        "embedded",
                        RECIPE,
                        SEED,
                        checkpoints=kept,
                        dies_after=counting.drawn // 2,
                    ),
                )
            trainer = TaskTrainer(self.task, "embedded", RECIPE, SEED, checkpoints=kept)
            return self._call(
                lambda model, trainer: self.method.sweep(model, list(self.budgets), trainer),
                trainer,
            )

    @cached_property
    def otherwise(self) -> Call:
        """Of a sweep over other budgets, one of which is not possible."""
        return self._call(
            lambda model, trainer: self.method.sweep(model, list(self.other_budgets), trainer)
        )

    @cached_property
    def refused(self) -> Call:
        """Of prune() for the impossible budget."""
        return self._call(lambda model, trainer: self._prune(model, self.impossible, trainer))

    @cached_property
    def eager(self) -> Call:
        """Of prune() for a budget of the other convention."""
        return self._call(lambda model, trainer: self._prune(model, self.eager_budget, trainer))

    @property
    def networks(self) -> dict[Budget, Pruned]:
        """Of the sweep. Raises Skipped if there are none."""
        if not self.swept.pruned():
            raise Skipped("the sweep gave no network to look at")
        return self.swept.pruned()

    def compacted(self, pruned: Pruned) -> nn.Module:
        """The unpruned network with the compactors of a pruned one."""
        return self._compacted(tuple(pruned.inserted))

    def rebuilt(self, pruned: Pruned) -> nn.Module:
        """The network that `inserted` and `kept` describe, as a saved one is rebuilt; its weights are those of the unpruned one."""
        kept: Kept = {
            unit: [int(index) for index in indices] for unit, indices in pruned.kept.items()
        }
        return remove_channels(self.compacted(pruned), kept, SHAPE)

    def _with_compactors(self, inserted: tuple[str, ...]) -> nn.Module:
        return insert(self.network, inserted, SHAPE) if inserted else self.network

    def _prune(self, model: nn.Module, budget: Budget, trainer: Any) -> Iterator[Outcome]:
        yield budget, self.method.prune(model, budget, trainer)

    def _call(
        self, ask: Callable[[nn.Module, Any], Any], trainer: TaskTrainer | None = None
    ) -> Call:
        _ = self.options_before
        trainer = trainer or TaskTrainer(self.task, "embedded", RECIPE, SEED)
        model = trainer.prepare(deepcopy(self.network))
        before, outcomes, error = _traits(model, trainer), [], None
        with self._watched():
            torch.manual_seed(SEED)
            with trainer.branch(), trainer.count_calls(model):
                try:
                    for budget, outcome in islice(
                        ask(model, WatchedTrainer(trainer, self.outside)), MOST_ANSWERS
                    ):
                        outcomes.append((budget, _taken_over(outcome, trainer)))
                        self._note_state()
                except Exception as problem:
                    error = problem
        self.touched += [
            what for what, found in _traits(model, trainer).items() if found != before[what]
        ]
        return Call(tuple(outcomes), error)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Inside, as many threads as a run has; changes of torch's state are noted and taken back."""
        outer = {what: get() for what, (get, _) in STATE.items()}
        torch.set_num_threads(RECIPE.threads)
        self._before = {what: get() for what, (get, _) in STATE.items()}
        try:
            yield
            self._note_state()
        finally:
            for what, (_, put) in STATE.items():
                put(outer[what])

    def _note_state(self) -> None:
        changed = {
            what: (self._before[what], get())
            for what, (get, _) in STATE.items()
            if get() != self._before[what]
        }
        self.disturbed += [f"{what} from {old} to {new}" for what, (old, new) in changed.items()]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same names, shapes and values."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


def _traits(model: nn.Module, trainer: TaskTrainer) -> dict[str, Any]:
    """What a caller notices of what it passed in, fit to be compared."""
    modules = dict(model.named_modules())
    return {
        "the weights or buffers of the network": {
            name: _bytes(tensor) for name, tensor in model.state_dict().items()
        },
        "requires_grad of its weights": {
            name: weight.requires_grad for name, weight in model.named_parameters()
        },
        "its training mode": {name: module.training for name, module in modules.items()},
        "its layers": {name: repr(module) for name, module in modules.items()},
        "its hooks": {
            name: [list(getattr(module, kind)) for kind in HOOKS]
            for name, module in modules.items()
        },
        "the calibration crops": [_bytes(crops) for pair in trainer.calibration for crops in pair],
    }


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().numpy().tobytes()


def _taken_over(outcome: Any, trainer: TaskTrainer) -> Any:
    """What the harness goes on with: a copy, which later work of the method cannot reach."""
    if not isinstance(outcome, Pruned) or not isinstance(outcome.model, nn.Module):
        return outcome
    model = deepcopy(outcome.model).cpu()
    trainer.uncount(model)
    return replace(outcome, model=model)
