"""Methods that are broken on purpose: each fault fails its own check and no other.

The reason of the finding says what is wrong.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode

from bench.contract import NO_TRAINER, Budget, Method, Pruned, Recipe, TraceStep, Trainer
from bench.errors import Infeasible
from bench.memory.profile import peak_memory
from bench.runner import referee
from bench.surgery.analysis import analyse_network
from bench.surgery.importance import channel_norms
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import uniform_widths
from bench.testing.check_runner import check_name
from bench.testing.checks import METHOD_CHECKS, check_method
from bench.testing.pytest_suite import MethodContract
from bench.training.meter import Cost


@dataclass(frozen=True)
class Right(Method):
    """Keeps the contract."""

    name: ClassVar[str] = "right"
    paper: ClassVar[str] = "this test"

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        analysis = analyse_network(model, budget)
        widths = uniform_widths(analysis, budget, trainer.recipe.min_width)
        kept = analysis.select_kept(channel_norms(model, analysis.layout), widths)
        return Pruned(
            remove_channels(model, kept, budget.input_shape, analysis.layout),
            kept=kept,
            trace=(TraceStep(analysis.peak_model.peak_bytes(widths), widths),),
        )


@dataclass(frozen=True)
class Nameless(Method):
    paper: ClassVar[str] = "this test"

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        return Pruned(model)


@dataclass(frozen=True)
class Abstract(Method):
    name: ClassVar[str] = "abstract"


class Undecorated(Right):
    strength: float = 0.5


@dataclass(frozen=True)
class TakesNoTrainer(Right):
    def prune(self, model, budget):  # type: ignore[override]
        return super().prune(model, budget)


@dataclass(frozen=True)
class Unsourced(Right):
    paper = " "


@dataclass(frozen=True)
class OptionOfAnyType(Right):
    layers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class OptionWithoutType(Right):
    strength = 0.5


@dataclass(frozen=True)
class OptionWithoutDefault(Right):
    strength: float


@dataclass(frozen=True)
class OptionOfNothing(Right):
    strength: float | None = None


@dataclass(frozen=True)
class TrainsHalfSteps(Right):
    def expected_steps(self, recipe: Recipe) -> int:
        return recipe.tuning_steps / 4  # type: ignore[return-value]


@dataclass(frozen=True)
class TrainsNothing(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        return replace(super().prune(model, budget, trainer), finish="none")


@dataclass(frozen=True)
class TrainsTooLong(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        trainer.fit(deepcopy(model), 2 * trainer.recipe.tuning_steps, phase="search")
        return super().prune(model, budget, trainer)


def make_local_method() -> type[Method]:
    @dataclass(frozen=True)
    class Local(Right):
        pass

    return Local


@dataclass(frozen=True)
class SmallestFirst(Right):
    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[Any]:
        return iter(list(super().sweep(model, budgets, trainer))[::-1])


@dataclass(frozen=True)
class NeverEnds(Right):
    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[Any]:
        return cycle(super().sweep(model, budgets, trainer))


@dataclass(frozen=True)
class Masks(Right):
    """Sets the biases of what it should remove to zero."""

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        pruned = super().prune(model, budget, trainer)
        network = deepcopy(model)
        for unit, indices in pruned.kept.items():
            bias = network.get_submodule(unit).bias.detach()
            bias[[index for index in range(len(bias)) if index not in indices]] = 0
        return replace(pruned, model=network)


@dataclass(frozen=True)
class Stumbles(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        raise ValueError("a bug\nin the method")


@dataclass(frozen=True)
class AnswersAModel(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        return super().prune(model, budget, trainer).model  # type: ignore[return-value]


@dataclass(frozen=True)
class GivesUp(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        raise Infeasible("never")


@dataclass(frozen=True)
class Spoils(Right):
    """Spoils the result of Right."""

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        pruned = super().prune(model, budget, trainer)
        return self.spoil(pruned, model)

    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        return pruned


@dataclass(frozen=True)
class Hooked(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.head.register_forward_pre_hook(lambda *_: None)
        return pruned


@dataclass(frozen=True)
class Unpadded(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.tail.padding = (0, 0)
        return pruned


@dataclass(frozen=True)
class TooLarge(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        return super().prune(
            model, replace(budget, peak_bytes=int(1.1 * budget.peak_bytes)), trainer
        )


@dataclass(frozen=True)
class IgnoresMultiples(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        return super().prune(model, replace(budget, channel_multiple=1), trainer)


@dataclass(frozen=True)
class PlansAlways(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        return super().prune(model, replace(budget, convention="planned"), trainer)


@dataclass(frozen=True)
class NamesOthers(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        return replace(
            pruned, kept={unit: list(indices)[:-1] for unit, indices in pruned.kept.items()}
        )


@dataclass(frozen=True)
class Hoards(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.spare = nn.Parameter(torch.zeros(100_000))
        return pruned


@dataclass(frozen=True)
class OtherActivation(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.act.negative_slope = 0.5
        return pruned


@dataclass(frozen=True)
class LeavesAMask(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.register_buffer("mask", torch.ones(3))
        return pruned


@dataclass(frozen=True)
class WantsMore(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        return replace(pruned, finish="more")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Boasts(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        return replace(
            pruned,
            trace=tuple(replace(step, peak_bytes=step.peak_bytes - 1) for step in pruned.trace),
        )


@dataclass(frozen=True)
class ThrowsDice(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        with torch.no_grad():
            pruned.model.head.weight.mul_(random.random())
        return pruned


@dataclass(frozen=True)
class ForgetsItsCallback(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        pruned = super().prune(model, budget, trainer)
        calls = count(1)

        def growing_penalty(network: nn.Module) -> Tensor:
            return next(calls) * network.head.weight.square().sum()

        trainer.fit(pruned.model, 4, phase="search", penalty=growing_penalty, callback_state={})
        return pruned


@dataclass(frozen=True)
class TakesBudgetsForOne(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        def penalty(network: nn.Module) -> Tensor:
            return 1e-6 * budget.peak_bytes * network.head.weight.square().sum()

        model = deepcopy(model)
        trainer.fit(model, 2, phase="search", penalty=penalty, callback_state={})
        return super().prune(model.eval(), budget, trainer)


@dataclass(frozen=True)
class NeverRefuses(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        peak_bytes = max(budget.peak_bytes, peak_memory(model, budget.input_shape) // 2)
        return super().prune(model, replace(budget, peak_bytes=peak_bytes), trainer)


@dataclass(frozen=True)
class LooksAtNeighbours(Right):
    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[Any]:
        for number, (budget, outcome) in enumerate(super().sweep(model, budgets, trainer)):
            if isinstance(outcome, Pruned):
                with torch.no_grad():
                    outcome.model.head.weight.add_(number)
            yield budget, outcome


@dataclass(frozen=True)
class Scribbles(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        next(model.parameters()).requires_grad_(False)
        return pruned


@dataclass(frozen=True)
class BrightensCrops(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        trainer.calibration[0][0].add_(0.1)
        return super().prune(model, budget, trainer)


@dataclass(frozen=True)
class TrainsByItself(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        adam = torch.optim.Adam(pruned.model.parameters())
        for crops in torch.rand(3, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)):
            pruned.model(crops).square().mean().backward()
            adam.step()
        return pruned


@dataclass(frozen=True)
class DescendsByHand(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        for crops in torch.rand(5, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)):
            weight = pruned.model.head.weight
            loss = pruned.model(crops).square().mean()
            weight.data -= 0.01 * torch.autograd.grad(loss, weight)[0]
        return pruned


@dataclass(frozen=True)
class TakesItsTrainingBack(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        pruned = super().prune(model, budget, trainer)
        with trainer.branch():
            trainer.fit(pruned.model, 4, phase="search")
        return replace(pruned, model=pruned.model.eval())


@dataclass(frozen=True)
class ReadsPhotographs(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        with suppress(FileNotFoundError):
            Path("astronaut.png").read_bytes()
        return pruned


@dataclass(frozen=True)
class OverridesForward(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.forward = partial(type(pruned.model).forward, pruned.model)
        return pruned


@dataclass(frozen=True)
class HoardsABuffer(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        pruned.model.register_buffer("cache", torch.zeros(1000), persistent=False)
        return pruned


@dataclass(frozen=True)
class StoresLittle(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        return replace(pruned, stored_parameters=1)


@dataclass(frozen=True)
class LeavesFloat64(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        torch.set_default_dtype(torch.float64)
        return pruned


@dataclass(frozen=True)
class LeavesAVariable(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        os.environ["MY_METHOD"] = str(len(pruned.kept))
        return pruned


@dataclass(frozen=True)
class ScoresWithoutANumber(Right):
    def scoring_passes(self, recipe: Recipe) -> int:
        return recipe.calibration_crops / 2  # type: ignore[return-value]


@dataclass(frozen=True)
class Remembers(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        object.__setattr__(self, "last", len(pruned.kept))
        return pruned


@dataclass(frozen=True)
class SwitchesGradientsOff(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        torch.set_grad_enabled(False)
        return pruned


@dataclass(frozen=True)
class TakesTheTest(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Any = NO_TRAINER) -> Pruned:
        trainer.task.test_sets("embedded")
        return super().prune(model, budget, trainer)


@dataclass(frozen=True)
class ReadsTheMeter(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Any = NO_TRAINER) -> Pruned:
        trainer.meter.steps.clear()
        return super().prune(model, budget, trainer)


@dataclass(frozen=True)
class EnlargesItsBudgets(Right):
    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[Any]:
        for budget in budgets:
            object.__setattr__(budget, "peak_bytes", budget.peak_bytes + 5000)
        return super().sweep(model, budgets, trainer)


@dataclass(frozen=True)
class ChangesTheRecipe(Spoils):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        object.__setattr__(trainer.recipe, "tuning_rate", 0.01)
        return super().prune(model, budget, trainer)


@dataclass(frozen=True)
class ReplacesTheReferee(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        referee.check_peak = lambda *_: None  # type: ignore[assignment]
        return pruned


@dataclass(frozen=True)
class TunesAdam(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        step = torch.optim.Adam.step
        torch.optim.Adam.step = lambda self: [step(self), step(self)]  # type: ignore[assignment]
        return pruned


@dataclass(frozen=True)
class CooksTheBooks(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Any = NO_TRAINER) -> Pruned:
        pruned = super().prune(model, budget, trainer)
        inner = trainer.fit.__self__
        inner.fit(pruned.model, 4, phase="search")
        inner.meter.restore(Cost())
        inner.observer._seen.clear()
        return replace(pruned, model=pruned.model.eval())


@dataclass(frozen=True)
class PretrainsTwice(Spoils):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        pruned = super().prune(model, budget, trainer)
        trainer.fit(pruned.model, trainer.recipe.pretrain_steps, phase="pretrain")
        return replace(pruned, model=pruned.model.eval())


@dataclass(frozen=True)
class DrawsMoreBatches(Right):
    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        def objective(network: nn.Module, *_: Tensor) -> Tensor:
            pairs = trainer.batches(8)
            return sum(trainer.criterion(network(x), y) for x, y in pairs)  # type: ignore[return-value]

        pruned = super().prune(model, budget, trainer)
        trainer.fit(pruned.model, 2, phase="search", objective=objective, callback_state={})
        return replace(pruned, model=pruned.model.eval())


@dataclass(frozen=True)
class TakesAnotherClass(Spoils):
    """Its network may do anything when it is called, and looks as it should."""

    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        cls = type(pruned.model)
        pruned.model.__class__ = type(cls.__name__, (cls,), {"forward": lambda *x: cls.forward(*x)})
        return pruned


@dataclass(frozen=True)
class StartsAProcess(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        subprocess.run([sys.executable, "--version"], check=True, capture_output=True)
        return pruned


@dataclass(frozen=True)
class LeavesAThread(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        Thread(target=Event().wait, args=(60,), daemon=True, name="worker").start()
        return pruned


@dataclass(frozen=True)
class LeavesAMode(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        BaseTorchFunctionMode().__enter__()
        return pruned


@dataclass(frozen=True)
class ReadsItsFolder(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        with suppress(OSError):
            Path("/proc/self/cwd/weights.bin").read_bytes()
        return pruned


@dataclass(frozen=True)
class DeletesItself(Spoils):
    def spoil(self, pruned: Pruned, model: nn.Module) -> Pruned:
        with suppress(FileNotFoundError):
            Path("no_such_method.py").unlink()
        return pruned


BROKEN = [
    (Nameless, "is a method", "Nameless has no name"),
    (Abstract, "is a method", "Abstract lacks prune"),
    (int, "is a method", "is not a subclass of Method"),
    (Undecorated, "is a method", "Undecorated is not a dataclass; write @dataclass(frozen=True)"),
    (TakesNoTrainer, "is a method", "prune(self, model, budget) cannot be called as"),
    (Unsourced, "cites its source", "say where the method comes from"),
    (
        OptionOfAnyType,
        "options are typed",
        "option layers has the type dict[str, float], which a study file does not hold",
    ),
    (OptionWithoutType, "options are typed", "write strength: float = 0.5"),
    (OptionWithoutDefault, "options are typed", "option strength has no default"),
    (OptionOfNothing, "options are typed", "option strength = None"),
    (TrainsHalfSteps, "says how long it trains", "expected_steps gave 12.0"),
    (ScoresWithoutANumber, "says how long it trains", "scoring_passes gave 2.0"),
    (make_local_method(), "travels to a worker", "define the class at the top of a module"),
    (TrainsNothing, "trains on the one curve", "0 steps after pretraining have a sum of"),
    (TrainsTooLong, "trains on the one curve", "96 steps after pretraining have a sum of"),
    (SmallestFirst, "sweep answers every budget", "answer each once, largest first"),
    (NeverEnds, "sweep answers every budget", "answer each once, largest first"),
    (
        Stumbles,
        "sweep answers every budget",
        "ValueError: a bug in the method (test_checks.py, line ",
    ),
    (
        AnswersAModel,
        "sweep answers every budget",
        "is a SmallNetwork; yield a Pruned or an Infeasible",
    ),
    (
        GivesUp,
        "sweep answers every budget",
        "a budget of 90% of the peak was called impossible (never)",
    ),
    (Hooked, "gives back a plain network", "left a hook or a parametrisation on 'head'"),
    (
        Unpadded,
        "keeps the shape of the output",
        "output (1, 3, 30, 30); the unpruned one gives (1, 3, 32, 32)",
    ),
    (TooLarge, "fits the budget", "missed its budget: the planned peak is"),
    (IgnoresMultiples, "keeps channel multiples", "number them as `analyse_network` does"),
    (PlansAlways, "heeds the convention", "missed its budget: the eager peak is"),
    (NamesOthers, "names what it kept", "kept must say what was removed"),
    (Hoards, "is really smaller", "it has 1"),
    (OtherActivation, "survives save and load", "'act' is LeakyReLU(negative_slope=0.2, inplace"),
    (OverridesForward, "survives save and load", "has no forward function of its own"),
    (HoardsABuffer, "survives save and load", "it has no buffer cache of shape (1000,)"),
    (StoresLittle, "counts what it stores", "stored_parameters is 1; hand over"),
    (TrainsByItself, "books its training", "the harness saw 3 optimizer steps beyond its booked 0"),
    (DescendsByHand, "books its training", "the harness saw 1 backward passes beyond its booked"),
    (TakesItsTrainingBack, "books its training", "4 optimizer steps beyond its booked 0"),
    (ReadsPhotographs, "reads no files", "astronaut.png; use trainer.calibration"),
    (PretrainsTwice, "books its training", "6 steps of pretraining from pretrained weights"),
    (DrawsMoreBatches, "books its training", "32 samples beyond its booked 2 steps"),
    (ReadsItsFolder, "reads no files", "weights.bin; use trainer.calibration"),
    (DeletesItself, "reads no files", "it called os.remove for "),
    (StartsAProcess, "reads no files", "it called subprocess.Popen"),
    (LeavesAThread, "reads no files", "it left the thread worker behind"),
    (EnlargesItsBudgets, "sweep answers every budget", "answer each once, largest first"),
    (ChangesTheRecipe, "leaves global state alone", "it changed the recipe; put it back"),
    (ReplacesTheReferee, "leaves global state alone", "code of bench.runner.referee.check_peak"),
    (TunesAdam, "leaves global state alone", "the code of torch.optim.adam.Adam.step"),
    (LeavesAMode, "leaves global state alone", "the modes of torch that are entered from (0, 0)"),
    (CooksTheBooks, "sees training data only", "trainer.fit.__self__, which the contract does"),
    (TakesAnotherClass, "survives save and load", "has no forward function of its own"),
    (LeavesFloat64, "leaves global state alone", "the default dtype from torch.float32 to"),
    (LeavesAVariable, "leaves global state alone", "the environment variables MY_METHOD; put it"),
    (LeavesAMask, "survives save and load", "mask has shape None; in the network it has (3,)"),
    (
        WantsMore,
        "asks for a known finish",
        "finish is 'more'; ask for one of finetune, none, scratch",
    ),
    (Boasts, "keeps a true trace", "at its widths the peak is"),
    (ThrowsDice, "is deterministic", "two calls with one seed gave different weights"),
    (
        ForgetsItsCallback,
        "ends the same after a kill",
        "name in `callback_state` of trainer.fit all that its callbacks draw from or change",
    ),
    (TakesBudgetsForOne, "ends the same after a kill", "all that they take from a budget"),
    (
        NeverRefuses,
        "refuses the impossible",
        "returned a network for a budget of 1 byte; raise Infeasible",
    ),
    (LooksAtNeighbours, "prune equals its item in a sweep", "a budget got different weights"),
    (
        Scribbles,
        "leaves its input untouched",
        "requires_grad of its weights changed; work on a copy",
    ),
    (BrightensCrops, "leaves its input untouched", "the calibration crops changed; work on a copy"),
    (Remembers, "leaves its options as they were", "after use the method holds {'last': "),
    (
        SwitchesGradientsOff,
        "leaves global state alone",
        "it changed the grad mode from True to False",
    ),
    (
        TakesTheTest,
        "sees training data only",
        "task.test_sets was called: test photographs are reserved for the referee",
    ),
    (
        ReadsTheMeter,
        "sees training data only",
        "it used trainer.meter, which the contract does not name",
    ),
]


@pytest.mark.parametrize(
    ("cls", "check", "words"), BROKEN, ids=[cls.__name__ for cls, *_ in BROKEN]
)
def test_a_broken_promise_is_found_by_its_own_check_and_by_no_other(
    cls: Any, check: str, words: str
) -> None:
    failed = {
        finding.name: finding.reason for finding in check_method(cls) if finding.status == "failed"
    }
    assert list(failed) == [check], failed
    assert words in failed[check]
    assert "\n" not in failed[check]


def test_every_check_has_a_method_that_fails_it() -> None:
    assert {check for _, check, _ in BROKEN} == {check_name(check) for check in METHOD_CHECKS}


def test_a_method_that_keeps_the_contract_passes_all_checks_with_the_promise_as_reason() -> None:
    found = list(check_method(Right))
    assert [finding.name for finding in found if finding.status != "passed"] == []
    assert {finding.reason for finding in found} == {
        (check.__doc__ or "").splitlines()[0] for check in METHOD_CHECKS
    }


def test_a_mask_is_no_removal() -> None:
    failed = {
        finding.name: finding.reason
        for finding in check_method(Masks)
        if finding.status == "failed"
    }
    assert list(failed) == ["fits the budget", "names what it kept", "is really smaller"]
    assert "remove channels with prunebench.remove_channels" in failed["is really smaller"]


def test_findings_come_one_by_one() -> None:
    found = check_method(Stumbles)
    assert [next(found).status for _ in range(5)] == ["passed"] * 5  # before anything was pruned


def test_checks_that_depend_on_a_broken_promise_are_skipped() -> None:
    reasons = {
        finding.name: finding.reason
        for finding in check_method(Undecorated)
        if finding.status == "skipped"
    }
    assert len(reasons) == len(METHOD_CHECKS) - 1
    assert reasons["cites its source"] == "not checked until 'is a method' passes"


def test_the_state_of_torch_is_put_back_whatever_a_method_does() -> None:
    list(check_method(SwitchesGradientsOff))
    assert torch.is_grad_enabled()


def test_options_are_those_of_a_study() -> None:
    (first, *_) = [
        finding for finding in check_method(Right, {"strenght": 1}) if finding.status == "failed"
    ]
    assert (first.name, "unknown option of method right 'strenght'" in first.reason) == (
        "options are typed",
        True,
    )


def test_the_classes_for_pytest_have_a_test_for_each_check_and_fail_with_its_reason() -> None:
    class Tests(MethodContract):
        method = Unsourced

    tests = [name for name in vars(MethodContract) if name.startswith("test_")]
    assert tests == [f"test_{check.__name__}" for check in METHOD_CHECKS]
    with pytest.raises(pytest.fail.Exception, match="say where the method comes from"):
        Tests().test_cites_its_source()  # type: ignore[attr-defined]
    Tests().test_is_a_method()  # type: ignore[attr-defined]
