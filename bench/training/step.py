"""One training step: the loss of a batch, its gradient, and a step of Adam."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.contract import Objective, Recipe
from bench.training.averaging import WeightAverage
from bench.training.checkpoints import TrainingState

AVERAGE = "average of the weights"  # name in a checkpoint, beside those of the callbacks
AfterStep = Callable[[int, float], bool | None]  # index, learning rate; True ends the training


@dataclass(frozen=True)
class Callbacks:
    """What a method adds to a training; see contract.Trainer.fit."""

    objective: Objective | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    after_step: AfterStep | None = None
    callback_state: Mapping[str, Any] | None = None

    @property
    def are_resumable(self) -> bool:
        """Whether a checkpoint can hold all that they do."""
        return self.callback_state is not None or not (
            self.objective or self.penalty or self.after_step
        )


class TrainingStep:
    """Trains a network by one batch at each call.

    Args:
        model: the network.
        criterion: the loss of (restored, clean), if there is no objective.
        callbacks: objective and penalty.
        recipe: precision of training and norm of the gradient.
        decay: of the average of the weights; 0 for none.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Tensor, Tensor], Tensor],
        callbacks: Callbacks,
        recipe: Recipe,
        decay: float,
    ) -> None:
        self._model = model
        self._criterion = criterion
        self.callbacks = callbacks
        self._recipe = recipe
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._average = WeightAverage(model, decay) if decay else None
        self.optimizer = torch.optim.Adam(self._weights, betas=(0.9, 0.999), eps=1e-8, fused=True)

    def __call__(self, rate: float, degraded: Tensor, clean: Tensor) -> Tensor:
        """Take a step at a learning rate and return the loss before it, a scalar."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        is_mixed = self._recipe.training_precision == "bf16"
        with torch.autocast(degraded.device.type, torch.bfloat16, enabled=is_mixed):
            if self.callbacks.objective:
                loss = self.callbacks.objective(self._model, degraded, clean)
            else:
                loss = self._criterion(self._model(degraded), clean)
        if self.callbacks.penalty:
            loss = loss + self.callbacks.penalty(self._model)
        loss.backward()
        if self._recipe.max_gradient_norm:
            nn.utils.clip_grad_norm_(self._weights, self._recipe.max_gradient_norm)
        self.optimizer.step()
        if self._average:
            self._average.update()
        return loss.detach()

    def end(self) -> None:
        """Free the gradients; leave the average of the weights in the network, if there is one."""
        self.optimizer.zero_grad(set_to_none=True)
        if self._average:
            self._average.load_into_model()

    def state(self, generator: Generator) -> TrainingState:
        """Return all that decides how the training continues; `generator` draws its batches."""
        carried = dict(self.callbacks.callback_state or {})
        carried |= {AVERAGE: self._average} if self._average else {}
        return TrainingState(self._model, self.optimizer, generator, carried)
