"""TaskTrainer: all that a method may do with a task, metered.

Every network is trained by the loop in `fit`: a fresh Adam (betas 0.9 and 0.999, eps 1e-8) on
random training crops in channels_last, with a learning rate that is halved `drops - 1` times at
equal distances. It rises linearly over the first steps, and gradients are cut off at a norm: a
fresh Adam moves every weight by the whole rate at once, which made one of three wide networks
diverge (a loss of 2.8 after 500 steps, where others have 0.05) and shook pruned ones at the start
of every phase. The loop does not wait for the device: whether the loss is finite is looked at when
progress is shown, at most twice a second, and at the end.

Random streams are derived from the seed, one for each use, so that adding a method or a phase
changes no other. What is drawn and metered inside `branch()` is forgotten at its end: the cost of
one budget is that of the common trajectory and of its own branch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from time import perf_counter
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.contract import Objective, Phase, Recipe, Task
from bench.errors import ConfigError, PluginError
from bench.files.hashing import digest
from bench.torch_state import evaluating
from bench.training.checkpoints import NO_CHECKPOINTS, Checkpoint, Checkpoints, State
from bench.training.interrupts import patient
from bench.training.meter import Meter, Spent

TICK_SECONDS = 0.5
WARMUP_STEPS = 200  # of any phase, but no more than a quarter of it
GRADIENT_NORM = 0.1  # of all weights together
OnStep = Callable[[str, int, int], None]  # phase, steps done, steps


def derived_seed(seed: int, use: str) -> int:
    """A seed of 31 bits for one use of `seed`."""
    return int(digest([seed, use])[:8], 16) >> 1


def chosen_device(name: str) -> str:
    """ "auto" as the best device that is there. Raises ConfigError for one that is not."""
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name.split(":")[0], False):
        raise ConfigError(
            f"device '{name}' is not available here; choose from {', '.join(kind for kind in there if there[kind])} or auto"
        )
    return name


class TaskTrainer:
    """The contract's Trainer for one task, on its training photographs alone.

    Args:
        task, data: the restoration problem and where its photographs are.
        recipe: how networks are trained.
        seed: of the cell; `trainer.seed` is derived from it and `stream`, for the method's own
            draws.
        device: "cpu", "cuda", ...
        progress: called with (phase, steps done, steps) at most every half second.
        stream: names the batches: trainers of different streams see different ones.
        initialise: gives a network new weights; by default the task does.
        checkpoints: where killed trainings go on from; by default nowhere.
        during: entered with the phase of each training, for as long as it lasts.
    """

    def __init__(
        self,
        task: Task,
        data: str,
        recipe: Recipe,
        seed: int,
        device: str = "cpu",
        progress: OnStep | None = None,
        stream: str = "method",
        initialise: Callable[[nn.Module, Generator], None] | None = None,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
        during: Callable[[str], AbstractContextManager[None]] = lambda phase: nullcontext(),
    ) -> None:
        self.task, self.data, self.recipe = task, data, recipe
        self.device = torch.device(device)
        self.seed = derived_seed(seed, stream)
        self.meter = Meter()
        self._initialise, self._checkpoints, self._during = (
            initialise or task.initialise,
            checkpoints,
            during,
        )
        self._cell_seed, self._progress = seed, progress or (lambda phase, done, steps: None)
        self._draws = Generator().manual_seed(derived_seed(seed, f"batches of {stream}"))
        self._count_forward = self._counter()

    @cached_property
    def calibration(self) -> Sequence[tuple[Tensor, Tensor]]:
        """The same `recipe.calibration_crops` crops for every method of a seed, in batches of (N, C, patch, patch)."""
        draws = Generator().manual_seed(derived_seed(self._cell_seed, "calibration"))
        pairs = self.task.calibration_pairs(self.data).sample(
            self.recipe.calibration_crops, self.recipe.patch, draws
        )
        degraded, clean = (crops.split(self.recipe.batch) for crops in pairs)
        return [
            (self._placed(one), self._placed(other))
            for one, other in zip(degraded, clean, strict=True)
        ]

    @cached_property
    def _crops(self) -> Any:
        return self.task.training_pairs(self.data)

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """`count` random training batches of (degraded, clean), (N, C, patch, patch)."""
        phase = self.meter.phase or "search"
        for _ in range(count):
            self.meter.samples[phase] += self.recipe.batch
            degraded, clean = self._crops.sample(self.recipe.batch, self.recipe.patch, self._draws)
            yield self._placed(degraded), self._placed(clean)

    def criterion(self, restored: Tensor, clean: Tensor) -> Tensor:
        """The task's differentiable loss, a scalar."""
        return self.task.loss(restored, clean)

    def loss(self, model: nn.Module) -> float:
        """The mean criterion over the calibration crops, in eval mode, without gradient."""
        self.prepare(model)
        total = torch.zeros((), device=self.device)
        with self.count_calls(model), evaluating(model), torch.inference_mode():
            for degraded, clean in self.calibration:
                self.meter.samples[self.meter.phase or "search"] += len(clean)
                total += self.criterion(model(degraded), clean) * len(clean)
        return float(total) / self.recipe.calibration_crops

    def remember(self, name: str, work: Callable[[], float]) -> float:
        """A number that is computed once, whoever kills the run; see contract.Trainer.remember."""
        name = f"{name}, torch {torch.__version__}, {self.device.type}"
        if name in self._numbers:
            self.meter.restore(self.meter.spent() + Spent.of(self._numbers[name]["spent"]))
        else:
            before, value = self.meter.spent(), work()
            self._numbers[name] = {
                "value": value,
                "spent": self.meter.spent().since(before).figures(),
            }
            self._checkpoints.write_numbers(self._numbers)
        number: float = self._numbers[name]["value"]
        return number

    @cached_property
    def _numbers(self) -> dict[str, Any]:
        return self._checkpoints.numbers()

    def reinitialise(self, model: nn.Module) -> None:
        """New weights by the backbone's own initialisation; the same for the same seed and shapes."""
        self._initialise(
            model.cpu(), Generator().manual_seed(derived_seed(self._cell_seed, "initialise"))
        )
        self.prepare(model)

    def learning_rates(self, phase: Phase, steps: int) -> Sequence[float]:
        """The learning rate of each step. Phase "search" stays at the first rate of fine-tuning."""
        rate = self.recipe.pretrain_rate if phase == "pretrain" else self.recipe.finetune_rate
        drops = {"pretrain": self.recipe.pretrain_drops, "search": 1}.get(
            phase, self.recipe.finetune_drops
        )
        rising = max(1, min(WARMUP_STEPS, steps // 4))
        return [
            rate * min(1, (index + 1) / rising) * 0.5 ** (index * drops // steps)
            for index in range(steps)
        ]

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
        """Trains in place; see contract.Trainer.fit.

        Raises:
            PluginError: the loss is no longer a finite number.
            KeyboardInterrupt: at the end of the step in which it was asked for.
        """
        if steps <= 0:
            return 0
        with self._during(phase), self.count_calls(model), self.meter.during(phase):
            self.prepare(model).train()
            weights = [weight for weight in model.parameters() if weight.requires_grad]
            optimizer = torch.optim.Adam(weights, betas=(0.9, 0.999), eps=1e-8, fused=True)
            known = callback_state is not None or not (
                objective or penalty or after_step
            )  # all that the training depends on
            state = State(model, optimizer, self._draws, callback_state or {})
            checkpoint = self._checkpoints.of(
                state, {"phase": phase, "steps": steps}, resumable=known
            )

            def step(rate: float, degraded: Tensor, clean: Tensor) -> Tensor:
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad(set_to_none=True)
                loss = (
                    objective(model, degraded, clean)
                    if objective
                    else self.criterion(model(degraded), clean)
                )
                if penalty:
                    loss = loss + penalty(model)
                loss.backward()
                nn.utils.clip_grad_norm_(weights, GRADIENT_NORM)
                optimizer.step()
                return loss

            done = self._train(step, phase, steps, after_step, checkpoint)
            optimizer.zero_grad(set_to_none=True)
        return done

    def _train(
        self,
        step: Callable[[float, Tensor, Tensor], Tensor],
        phase: Phase,
        steps: int,
        after_step: Callable[[int, float], bool | None] | None,
        checkpoint: Checkpoint,
    ) -> int:
        """The loop of `fit`, from where the checkpoint is."""
        before, noted = self.meter.spent(), checkpoint.resume()
        done, ended = noted.get("done", 0), noted.get("ended", False)
        self.meter.restore(before + Spent.of(noted.get("spent", {})))
        rates, batches, shown = (
            self.learning_rates(phase, steps),
            self.batches(steps - done),
            perf_counter(),
        )
        with patient() as asked_to_stop:
            while not ended:
                loss = step(rates[done], *next(batches))
                self.meter.steps[phase] += 1
                ended = bool(after_step and after_step(done, rates[done])) or done + 1 == steps
                done += 1
                due = checkpoint.due(ended) or asked_to_stop()
                if ended or due or perf_counter() - shown > TICK_SECONDS:
                    self._tick(
                        loss, phase, done, steps
                    )  # first: what has diverged is not worth a checkpoint
                    shown = perf_counter()
                if due:
                    checkpoint.write(
                        {
                            "done": done,
                            "ended": ended,
                            "spent": self.meter.spent().since(before).figures(),
                        }
                    )
                if asked_to_stop():
                    break
        return done

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Batches drawn, torch's own random numbers and the meter go back to where they were."""
        spent, draws, common = self.meter.spent(), self._draws.get_state(), torch.get_rng_state()
        try:
            yield
        finally:
            self.meter.restore(spent)
            self._draws.set_state(draws)
            torch.set_rng_state(common)

    @contextmanager
    def count_calls(self, model: nn.Module) -> Iterator[None]:
        """Counts the calls of `model` inside, unless they are counted already."""
        present = self._count_forward in model._forward_hooks.values()
        handle = None if present else model.register_forward_hook(self._count_forward)
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()

    def uncount(self, model: nn.Module) -> None:
        """Takes the counter off a network that was copied from a counted one."""
        for module in model.modules():
            for key in [
                key for key, hook in module._forward_hooks.items() if hook is self._count_forward
            ]:
                del module._forward_hooks[key]

    def prepare(self, model: nn.Module) -> nn.Module:
        """The network on the device, in channels_last."""
        return model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _counter(self) -> Callable[..., None]:
        def count_forward(
            module: nn.Module, inputs: Any, output: Any
        ) -> None:  # a plain function: copying a network copies no meter
            self.meter.forward_passes += 1

        return count_forward

    def _placed(self, crops: Tensor) -> Tensor:
        return crops.to(device=self.device, memory_format=torch.channels_last, non_blocking=True)

    def _tick(self, loss: Tensor, phase: str, done: int, steps: int) -> None:
        value = float(loss.detach())
        if not math.isfinite(value):
            raise PluginError(
                f"the loss is {value} at step {done} of {steps} of phase '{phase}'; lower the recipe's rate"
            )
        self._progress(phase, done, steps)
