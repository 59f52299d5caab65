"""TaskTrainer: all that a method may do with a task, metered.

Every network is trained by the loop in `_train`: a fresh Adam (betas 0.9 and 0.999, eps 1e-8) on
random training crops in channels_last, at the rates of `bench.training.learning_rates`, with the
norm of the gradient clipped; on request it leaves the average of the weights
(`bench.training.averaging`). The loop does not wait for the device: the loss is checked to be
finite when progress is shown, at most twice a second, and at the end.

Random streams are derived from the seed, one for each use, so that adding a method or a phase
changes no other. The batch of a training step depends on the seed and on the place of the step on
its learning-rate curve alone: at one seed step k has the same crops and noise for every method and
budget. All draws and costs inside `branch()` are taken back at its end: the cost of one budget is
that of the common trajectory and of its own branch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import cached_property
from time import perf_counter
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.contract import Crops, Objective, Phase, Recipe, Task
from bench.errors import ConfigError, PluginError
from bench.files.hashing import digest
from bench.torch_state import eval_mode, to_channels_last
from bench.training.averaging import AVERAGED_PHASES
from bench.training.checkpoints import NO_CHECKPOINTS, Checkpoint, Checkpoints
from bench.training.evaluation import mean_psnr_db
from bench.training.interrupts import defer_interrupts
from bench.training.learning_rates import learning_rates
from bench.training.meter import PRETRAIN, Cost, Meter
from bench.training.observer import FIT_STEPS, SAMPLES, Observer
from bench.training.seeds import derive_seed
from bench.training.step import AfterStep, Callbacks, TrainingStep

PROGRESS_SECONDS = 0.5
OnStep = Callable[[str, int, int, float], None]  # phase, steps done, steps, training loss


class TaskTrainer:
    """The contract's Trainer for one task, on its training photographs alone.

    Args:
        task: the restoration problem.
        data: where its photographs are.
        recipe: how networks are trained.
        seed: of the cell; `trainer.seed` is derived from it and `stream`, for the method's own
            draws.
        device: "cpu", "cuda", ...
        progress: called with (phase, steps done, steps, mean training loss since the call before)
            at most every half second.
        stream: name of the random streams of `trainer.seed` and `trainer.batches`; what `fit`
            trains on does not depend on it.
        initialise: gives a network new weights; by default the task does.
        checkpoints: where killed trainings resume from; by default nothing is kept.
        enter_phase: context manager entered with the phase of each training while it lasts.
        tuned: steps after pretraining that the network had before: of the method, for the trainer
            of the finish.
        on_search: called with each network that a search trains, before its training; the call is
            not metered.
        teacher: the unpruned network, for `recipe.distillation`.
    """

    def __init__(
        self,
        task: Task,
        data: str,
        recipe: Recipe,
        seed: int,
        *,
        device: str = "cpu",
        progress: OnStep | None = None,
        stream: str = "method",
        initialise: Callable[[nn.Module, Generator], None] | None = None,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
        enter_phase: Callable[[str], AbstractContextManager[None]] = lambda phase: nullcontext(),
        tuned: int = 0,
        on_search: Callable[[nn.Module], None] | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.task = task
        self.data = data
        self.recipe = recipe
        self.device = torch.device(device)
        self.seed = derive_seed(seed, stream)
        self.meter = Meter()
        self.observer = Observer()
        self._cell_seed = seed
        self._progress = progress or (lambda phase, done, steps, loss: None)
        self._initialise = initialise or task.initialise
        self._checkpoints = checkpoints
        self._enter_phase = enter_phase
        self.tuned = tuned
        self._on_search = on_search
        self._unpruned = teacher
        self._batch_generator = Generator().manual_seed(derive_seed(seed, f"batches of {stream}"))
        self._count_forward = self._make_counter()

    @cached_property
    def calibration(self) -> Sequence[tuple[Tensor, Tensor]]:
        """Calibration batches of (degraded, clean), clean ones (N, C, patch, patch).

        The `recipe.calibration_crops` crops are the same for every method of a seed.
        """
        generator = Generator().manual_seed(derive_seed(self._cell_seed, "calibration"))
        pairs = self.task.calibration_pairs(self.data).sample(
            self.recipe.calibration_crops, self.recipe.patch, generator
        )
        degraded, clean = (crops.split(self.recipe.batch) for crops in pairs)
        return [
            (self._to_device(inputs), self._to_device(targets))
            for inputs, targets in zip(degraded, clean, strict=True)
        ]

    @cached_property
    def crops(self) -> Crops:
        """The source of training crops."""
        return self.task.training_pairs(self.data)

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `count` random training batches of (degraded, clean), (N, C, patch, patch)."""
        for _ in range(count):
            if self.observer.is_fitting:  # a step is booked with one batch
                self.observer.count(SAMPLES, self.recipe.batch)
            yield self.draw_batch(self._batch_generator)

    def draw_batch(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw one training batch and count its crops."""
        self._count_samples(self.recipe.batch)
        degraded, clean = self.crops.sample(self.recipe.batch, self.recipe.patch, generator)
        return self._to_device(degraded), self._to_device(clean)

    def _count_samples(self, count: int) -> None:
        self.meter.samples[self.meter.phase or "search"] += count
        self.observer.count(SAMPLES, count)

    def criterion(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Return the task's differentiable loss in float32, a scalar."""
        return self.task.loss(restored.float(), clean)

    def loss(self, model: nn.Module) -> float:
        """Return the mean criterion over the calibration crops, in eval mode, without gradient."""
        return self._average_over_calibration(model, self.criterion)

    def psnr_db(self, model: nn.Module) -> float:
        """Return the mean PSNR in dB over the calibration crops, restored values within [0, 1]."""
        return self._average_over_calibration(model, mean_psnr_db)

    def _average_over_calibration(
        self, model: nn.Module, measure: Callable[[Tensor, Tensor], Tensor]
    ) -> float:
        """Return the mean over crops of a measure of (restored, clean), which is itself a mean."""
        self.prepare(model)
        total = torch.zeros((), device=self.device)
        with self.count_calls(model), eval_mode(model), torch.inference_mode():
            for degraded, clean in self.calibration:
                self._count_samples(len(clean))
                total += measure(model(degraded), clean) * len(clean)
        return float(total) / self.recipe.calibration_crops

    def remember(self, name: str, work: Callable[[], float]) -> float:
        """Return the number that `work` computes, or the stored one if a killed run computed it.

        See contract.Trainer.remember.
        """
        name = f"{name}, torch {torch.__version__}, {self.device.type}"
        if name in self._numbers:
            self._book_stored(Cost.from_fields(self._numbers[name]["spent"]))
        else:
            before = self.meter.cost()
            value = work()
            spent = self.meter.cost().subtract(before).to_fields()
            self._numbers[name] = {"value": value, "spent": spent}
            self._checkpoints.write_numbers(self._numbers)
        number: float = self._numbers[name]["value"]
        return number

    def _book_stored(self, spent: Cost) -> None:
        """Book the work that a killed run has done before."""
        self.meter.restore(self.meter.cost() + spent)
        self.observer.credit(spent)

    @cached_property
    def _numbers(self) -> dict[str, Any]:
        return self._checkpoints.read_numbers()

    def reinitialise(self, model: nn.Module) -> None:
        """Give a network new weights by the backbone's own initialisation.

        They are the same for the same seed and shapes.
        """
        generator = Generator().manual_seed(derive_seed(self._cell_seed, "initialise"))
        self._initialise(model.cpu(), generator)
        self.prepare(model)

    def learning_rates(self, phase: Phase, steps: int) -> Sequence[float]:
        """Return the rates of the next `steps` steps; see bench.training.learning_rates."""
        return learning_rates(
            self.recipe, phase, self.tuned + self.meter.cost().tuning_steps, steps
        )

    def _find_place(self, phase: Phase) -> tuple[str, int]:
        """Return the learning-rate curve of the next step of a phase, and its place there."""
        if phase == "pretrain" or not self.recipe.matched_steps:
            return phase, self.meter.steps[phase]
        return "tuning", self.tuned + self.meter.cost().tuning_steps

    def _draw_batch_of_step(self, curve: str, place: int) -> tuple[Tensor, Tensor]:
        """Draw the batch of one training step, the same for every network of the seed."""
        use = f"batch {place} of {curve}"
        degraded, clean = self.draw_batch(
            Generator().manual_seed(derive_seed(self._cell_seed, use))
        )
        if curve == PRETRAIN or not self.recipe.distillation:
            return degraded, clean
        with torch.no_grad():
            target = self._teacher(degraded).float()
        return degraded, torch.lerp(clean, target, self.recipe.distillation)

    @cached_property
    def _teacher(self) -> nn.Module:
        if self._unpruned is None:
            raise ConfigError("recipe.distillation needs an unpruned network")
        return self.prepare(deepcopy(self._unpruned)).eval().requires_grad_(False)

    def fit(
        self,
        model: nn.Module,
        steps: int,
        *,
        phase: Phase,
        objective: Objective | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        after_step: AfterStep | None = None,
        callback_state: Mapping[str, Any] | None = None,
        averaged: bool = True,
    ) -> int:
        """Train in place and return the steps done; see contract.Trainer.fit.

        Raises:
            PluginError: the loss is no longer a finite number.
            KeyboardInterrupt: after an interruption, at the end of its step.
        """
        callbacks = Callbacks(objective, penalty, after_step, callback_state)
        decay = self.recipe.averaging if averaged and phase in AVERAGED_PHASES else 0
        return next(self._fit(model, steps, phase, callbacks, decay), 0)

    def fit_in_parts(
        self, model: nn.Module, steps: int, *, phase: Phase, **callbacks: Any
    ) -> Iterator[int]:
        """Train in place, in parts; see contract.Trainer.fit_in_parts. Raises as `fit` does."""
        return self._fit(model, steps, phase, Callbacks(**callbacks), in_parts=True)

    def _fit(
        self,
        model: nn.Module,
        steps: int,
        phase: Phase,
        callbacks: Callbacks,
        decay: float = 0,
        in_parts: bool = False,
    ) -> Iterator[int]:
        """Train until a callback ends the training, or a part of it, and yield the steps done."""
        if steps <= 0:
            return
        if self._on_search and phase == "search":
            with self.branch():
                self._on_search(model)
        step = TrainingStep(self.prepare(model), self.criterion, callbacks, self.recipe, decay)
        rates = self.learning_rates(phase, steps)
        done = 0
        while done < steps:
            with (
                self._enter_phase(phase),
                self.count_calls(model),
                self.meter.enter_phase(phase),
                self.observer.enter_fit(model, phase),
            ):
                model.train()
                checkpoint = self._checkpoints.open_checkpoint(
                    step.state(self._batch_generator),
                    {"phase": phase, "rates": digest(rates), "place": self._find_place(phase)}
                    | ({"part from": done} if in_parts else {}),
                    resumable=callbacks.are_resumable,
                    in_parts=in_parts,
                )
                done = self._train(step, phase, rates, done, checkpoint)
                step.end()
            yield done

    def _train(
        self,
        step: TrainingStep,
        phase: Phase,
        rates: Sequence[float],
        first: int,
        checkpoint: Checkpoint,
    ) -> int:
        """Run the loop of `_fit` from step `first` or its checkpoint on; return the steps done."""
        before = self.meter.cost()
        curve, start = self._find_place(phase)
        notes = checkpoint.resume()
        done, ended = notes.get("done", first), notes.get("ended", False)
        self._book_stored(Cost.from_fields(notes.get("spent", {})))
        steps, after_step = len(rates), step.callbacks.after_step
        losses: list[Tensor] = []  # not yet read from the device
        shown = perf_counter()
        with defer_interrupts() as is_interrupted:
            while not ended:
                loss = step(rates[done], *self._draw_batch_of_step(curve, start + done - first))
                losses.append(loss)
                self.meter.count_step(phase, rates[done])
                self.observer.count(FIT_STEPS)
                ended = bool(after_step and after_step(done, rates[done])) or done + 1 == steps
                done += 1
                due = checkpoint.is_due(ended) or is_interrupted()
                if ended or due or perf_counter() - shown > PROGRESS_SECONDS:
                    # Before the checkpoint: a training that has diverged is not worth one.
                    self._report_step(losses, phase, done, steps)
                    losses.clear()
                    shown = perf_counter()
                if due:
                    spent = self.meter.cost().subtract(before).to_fields()
                    checkpoint.write({"done": done, "ended": ended, "spent": spent})
                if is_interrupted():
                    break
        return done

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Restore the batches, torch's random numbers and the meter at the end of the block."""
        cost = self.meter.cost()
        batch_state = self._batch_generator.get_state()
        rng_state = torch.get_rng_state()
        try:
            with self.observer.branch():
                yield
        finally:
            self.meter.restore(cost)
            self._batch_generator.set_state(batch_state)
            torch.set_rng_state(rng_state)

    @contextmanager
    def count_calls(self, model: nn.Module) -> Iterator[None]:
        """Count the calls of `model` inside the block, unless they are counted already."""
        present = self._count_forward in model._forward_hooks.values()
        handle = None if present else model.register_forward_hook(self._count_forward)
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()

    def remove_call_counter(self, model: nn.Module) -> None:
        """Remove the counter from a network that was copied from a counted one."""
        for module in model.modules():
            hooks = module._forward_hooks
            for key in [key for key, hook in hooks.items() if hook is self._count_forward]:
                del hooks[key]

    def prepare(self, model: nn.Module) -> nn.Module:
        """Move a network to the device, in channels_last, and return it."""
        return to_channels_last(model, self.device)

    def _make_counter(self) -> Callable[..., None]:
        """Return a plain function: copying a counted network then copies no meter."""

        def count_forward(module: nn.Module, inputs: Any, output: Any) -> None:
            self.meter.forward_passes += 1

        return count_forward

    def _to_device(self, crops: Tensor) -> Tensor:
        return crops.to(device=self.device, memory_format=torch.channels_last, non_blocking=True)

    def _report_step(self, losses: Sequence[Tensor], phase: str, done: int, steps: int) -> None:
        """Note the losses and report progress. Raises PluginError if the last is not finite."""
        values = torch.stack([loss.reshape(()) for loss in losses]).tolist()
        self.meter.note_losses(phase, values)
        if not math.isfinite(values[-1]):
            raise PluginError(
                f"the loss is {values[-1]} at step {done} of {steps} of phase '{phase}'; "
                "lower the recipe's rate"
            )
        self._progress(phase, done, steps, sum(values) / len(values))
