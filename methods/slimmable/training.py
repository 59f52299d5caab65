"""The common part of slimmable methods: one set of weights for all widths, and how it is trained.

A network of width s runs with the max(w_min, floor(s c)) most important channels of every unit, so
that a wider one has all channels of a narrower one; of a concat, those of each segment. The order
of importance is found once, before training, on the pretrained weights, whose first channels are
worth no more than any others. From new weights, as published, it is the order of the indices.

Where narrower networks learn from the widest (in-place distillation), its output is their target,
without gradient, and together they count as much as the clean crops:

    L = L(f_1(x), y) + mean_s L(f_s(x), stop(f_1(x)))

The reference sums over s. Its loss is a cross-entropy, whose gradient fades as a narrow network
comes to agree with the widest; the gradient of L1, a mean of signs, is as large near agreement as
far from it, so that a sum would outweigh the clean crops to the end.

Running statistics fit one width only. If a network has any, they are estimated anew for the width
that is cut out (post-statistics of US-Net); a network without BatchNorm is left as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.contract import Budget, Finish, Objective, Pruned, Trainer, Widths
from bench.memory.peak_model import infeasible_budget
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import ChannelScores
from bench.surgery.remove import remove_channels
from bench.surgery.shared_weights import SlicedNetwork
from bench.surgery.width_search import scale_widths

Start = Literal["scratch", "pretrained"]
STATISTICS_BATCHES = 5


class Slimmable:
    """A network whose weights serve every width.

    Args:
        model: owns the weights.
        budget: gives the input shape and the convention of the analysis.
    """

    def __init__(self, model: nn.Module, budget: Budget) -> None:
        self.model = model
        self.input_shape = budget.input_shape
        self.analysis: NetworkAnalysis = analyse_network(model, budget)
        self.sliced = SlicedNetwork(model, self.analysis.layout)
        # Channels of each unit, the most important first.
        self.ranking = {unit: list(range(width)) for unit, width in self.analysis.widths.items()}

    def rank_channels(self, scores: ChannelScores) -> None:
        """Order the channels by importance, highest first; of equal ones, the last comes first.

        Args:
            scores: unit -> importance of each channel, (C,).
        """
        self.ranking = {
            unit: row.argsort(stable=True).flip(0).tolist() for unit, row in scores.items()
        }

    def run(self, widths: Widths, degraded: Tensor) -> Tensor:
        """Return the network's output at these widths, (N, C, H, W)."""
        return self.sliced(self.channels_at(widths), degraded)

    def widths_at(self, share: float, min_width: int) -> dict[str, int]:
        """Return the width max(w_min, floor(s c)) of each unit, at a share s.

        The share is taken as the decimal number it prints: 0.29 of 100 channels is 29; in floating
        point it would be 28.
        """
        exact = Fraction(str(share))
        return scale_widths(self.analysis, exact.numerator, min_width, exact.denominator)

    def check(self, budget: Budget, share: float, min_width: int) -> None:
        """Raise Infeasible if the network at a share of the channels does not fit."""
        least = self.analysis.peak_model.peak_bytes(self.widths_at(share, min_width))
        if least > budget.peak_bytes:
            raise infeasible_budget(budget, least)

    def channels_at(self, widths: Widths) -> dict[str, list[int]]:
        """Return the sorted indices of the best channels of each unit that loses some."""
        return {
            unit: sorted(self.ranking[unit][:width])
            for unit, width in widths.items()
            if width < self.analysis.widths[unit]
        }

    def cut(self, widths: Widths, finish: Finish, trainer: Trainer) -> Pruned:
        """Return the network at these widths alone, with statistics of its own."""
        kept = self.channels_at(widths)
        smaller = remove_channels(self.model, kept, self.input_shape, self.analysis.layout)
        estimate_statistics(smaller, trainer)
        # Without further training, all weights of the slimmable network stay.
        stored = self.model if finish == "none" else None
        return Pruned(smaller, finish, kept, stored_parameters=stored)


def start_slimmable(
    model: nn.Module, budget: Budget, start: Start, importance: Importance, trainer: Trainer
) -> Slimmable:
    """Return a slimmable network as its training starts.

    Args:
        model: owns the weights. From scratch, it gets new ones.
        budget: gives the input shape and the convention of the analysis.
        start: "scratch" or "pretrained".
        importance: orders the channels of pretrained weights.
        trainer: gives new weights, or the crops that importance is measured on.
    """
    slimmable = Slimmable(model, budget)
    if start == "scratch":
        trainer.reinitialise(model)
    else:
        layout = slimmable.analysis.layout
        slimmable.rank_channels(score_channels(importance, model, layout, trainer))
    return slimmable


def train(
    slimmable: Slimmable,
    objective: Objective,
    start: Start,
    steps: int,
    trainer: Trainer,
    callback_state: Mapping[str, Any],
) -> None:
    """Train a slimmable network, from `start_slimmable`.

    From new weights it gets the whole schedule of a network of its own, then `steps` steps; from
    pretrained weights, `steps` steps only.

    Args:
        slimmable: trained in place.
        objective: the loss of a step.
        start: "scratch" or "pretrained".
        steps: after pretraining.
        trainer: does the training.
        callback_state: as in `Trainer.fit`.
    """
    if start == "scratch":
        trainer.fit(
            slimmable.model,
            trainer.recipe.pretrain_steps,
            phase="pretrain",
            objective=objective,
            callback_state=callback_state,
        )
    trainer.fit(
        slimmable.model, steps, phase="adapt", objective=objective, callback_state=callback_state
    )


def sandwich_objective(
    slimmable: Slimmable,
    draw_widths: Callable[[], Sequence[Widths]],
    trainer: Trainer,
    distilled: bool = True,
) -> Objective:
    """Return the objective of US-Net.

    The widest network learns from the clean crops, the narrower ones from its output; their losses
    are averaged.

    Args:
        slimmable: the network.
        draw_widths: gives the narrower widths of a step.
        trainer: gives the criterion.
        distilled: if False, the narrower networks learn from the clean crops too.
    """

    def objective(model: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
        widest = model(degraded)
        target = widest.detach() if distilled else clean
        losses = [
            trainer.criterion(slimmable.run(widths, degraded), target) for widths in draw_widths()
        ]
        return trainer.criterion(widest, clean) + torch.stack(losses).mean()

    return objective


def estimate_statistics(model: nn.Module, trainer: Trainer) -> None:
    """Estimate running statistics from a few training batches, as their plain mean.

    A network without running statistics is left as it is.
    """
    layers = [
        layer for layer in model.modules() if getattr(layer, "running_mean", None) is not None
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()  # type: ignore[operator]
        layer.momentum = None  # type: ignore[assignment]  # the plain mean over batches
    model.train()
    with torch.no_grad(), trainer.count_calls(model):
        for degraded, _ in trainer.batches(STATISTICS_BATCHES):
            model(degraded)
    model.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
