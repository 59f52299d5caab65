"""Group lasso: training that drives whole channels to zero (Wen et al., Learning Structured Sparsity, NeurIPS 2016).

    L = L_task + lambda sum over channels j of ||W_j||_2

W_j are all weights that make one place of a unit: a channel of one layer, or the same one of all tied layers, which so vanish together.
Biases are in no group. The penalty acts by its proximal step after each step of Adam,

    W_j <- max(0, 1 - lr lambda / ||W_j||) W_j,        and the bias of a channel that has become zero is set to zero,

because Adam would normalise the gradient of a penalty away. lambda = strength * median ||W_j|| / sum of the learning rates: all proximal
steps together shorten a channel by `strength` of a median channel's norm, whatever the schedule; it does not depend on a budget.

The paper's table has the Params of uniform scale, so the same share of every unit goes, the channels with the smallest norms
(quantum: one step of the uniform grid). With allocation = "threshold" one list over all units decides (quantum: one channel).
Groups are output channels only: an input channel of one layer is an output channel of another, whose removal takes both.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.contract import Budget, Pruned, Step, Trainer
from bench.errors import ConfigError
from bench.memory.layout import STAYS, Layout
from bench.registry import method
from bench.staged import StagedMethod
from bench.surgery.anatomy import Anatomy, anatomy
from bench.surgery.channels import remove
from bench.surgery.families import one_list_widths, uniform_widths
from bench.surgery.masks import output_slices


@dataclass(frozen=True)
class Shrunk:
    """A network after training with the lasso, its units, the norm of each group, and what became of them."""

    network: nn.Module
    body: Anatomy
    scores: dict[str, Tensor]
    note: str


@method("group_lasso")
@dataclass(frozen=True)
class GroupLasso(StagedMethod[Shrunk]):
    """Trains channels towards zero, then removes the smallest.

    Args:
        strength: by how much of the median norm the proximal steps of the whole training shorten a channel.
        epochs: of training with the lasso.
        allocation: "uniform" (the same share of every unit, as in the paper's table) or "threshold" (one list over all units).
    """

    paper: ClassVar[str] = "Wen et al., Learning Structured Sparsity in Deep Neural Networks, NeurIPS 2016"
    strength: float = 0.5
    epochs: int = 20
    allocation: Literal["uniform", "threshold"] = "uniform"

    def __post_init__(self) -> None:
        if self.strength < 0 or self.epochs < 0:
            raise ConfigError(f"group_lasso: strength = {self.strength} and epochs = {self.epochs} must be 0 or more")

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Shrunk:
        """Trains with the lasso."""
        body, steps = anatomy(model, budget), self.epochs * trainer.recipe.steps_per_epoch
        groups = Groups(model, body.layout)
        start = groups.norms()
        rates = sum(trainer.learning_rates("search", steps))
        if self.strength:
            strength = self.strength * float(start.median()) / max(rates, 1e-12)
            trainer.fit(model, steps, phase="search", after_step=lambda _, rate: groups.shrink(rate * strength))
        else:
            trainer.fit(model, steps, phase="search")
        norms = groups.norms()
        note = f"strength {self.strength:g}: {float((norms == 0).float().mean()):.1%} of the channels are zero, "
        note += f"mean norm {float(norms.mean() / start.mean()):.2f} of its start"
        scores = {unit: norms[body.layout.places(unit)].cpu() for unit in body.widths}
        return Shrunk(model, body, scores, note)

    def cut(self, prepared: Shrunk, budget: Budget, trainer: Trainer) -> Pruned:
        """The largest groups that fit. Raises Infeasible if the least widths do not."""
        body, least = prepared.body, trainer.recipe.min_width
        uniform = self.allocation == "uniform"
        widths = uniform_widths(body, budget, least) if uniform else one_list_widths(prepared.scores, body, budget, least)
        kept = body.keep(prepared.scores, widths)
        smaller = remove(prepared.network, kept, budget.input_shape, body.layout)
        return Pruned(smaller, kept=kept, trace=(Step(body.peaks.peak_bytes(widths), widths, prepared.note),))


class Groups:
    """The groups of a network: for each place the weights that make it.

    Args:
        model: owns the weights; they are changed in place.
        channels: its layout.
    """

    def __init__(self, model: nn.Module, channels: Layout) -> None:
        self.size = channels.size
        self.parts: list[tuple[Tensor, int, Tensor, Tensor | None, Tensor]] = []  # weight, axis, its groups, bias, its groups
        for layer, places in channels.makes.items():
            module = model.get_submodule(layer)
            (weight, axis), bias = output_slices(module), module.bias
            if (places != STAYS).any() and weight.requires_grad:
                rows = torch.from_numpy(places).to(weight.device) % (channels.size + 1)  # the last one is for what stays
                self.parts.append((weight, axis, rows[: weight.shape[axis]], bias if isinstance(bias, Tensor) else None, rows))

    @torch.no_grad()
    def norms(self) -> Tensor:
        """||W_j||, (places,)."""
        squares = torch.zeros(self.size + 1, device=self.parts[0][0].device)
        for weight, axis, rows, _, _ in self.parts:
            squares.index_add_(0, rows, weight.movedim(axis, 0).flatten(1).square().sum(1))
        return squares[:-1].sqrt()

    @torch.no_grad()
    def shrink(self, amount: float) -> None:
        """One proximal step: every group shorter by `amount`, or zero with its biases."""
        factors = torch.ones(self.size + 1, device=self.parts[0][0].device)
        factors[:-1] = (1 - amount / self.norms().clamp_min(1e-12)).clamp_min(0)
        for weight, axis, rows, bias, places in self.parts:
            shape = [1] * weight.ndim
            shape[axis] = -1
            weight.mul_(factors[rows].view(shape))
            if bias is not None:
                bias.mul_(factors[places] > 0)
