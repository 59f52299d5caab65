"""What slimmable methods share: one set of weights, the prefix of every unit at each width, and how such weights are trained.

A network of width s runs with the first channels of every unit; of a concat, the first of each
segment. All widths of a step are summed into one loss. Where widths learn from the widest (in-place
distillation), its output is their target, without gradient:

    L = L(f_1(x), y) + sum_s L(f_s(x), stop(f_1(x)))

Running statistics fit one width only. Where there are any, they are estimated anew for the width
that is cut out (post-statistics of US-Net); a network without BatchNorm is left as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.contract import Budget, Finish, Objective, Pruned, Trainer, Widths
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.surgery.remove import remove_channels
from bench.surgery.shared_weights import Sliced
from bench.surgery.width_search import scaled

Start = Literal["scratch", "pretrained"]
STATISTICS_BATCHES = 5


class Slimmable:
    """A network whose weights serve every width.

    Args:
        model: owns the weights.
        budget: says at which input its memory is counted.
    """

    def __init__(self, model: nn.Module, budget: Budget) -> None:
        self.model, self.input_shape = model, budget.input_shape
        self.body: NetworkAnalysis = analyze_network(model, budget)
        self.sliced = Sliced(model, self.body.layout)

    def run(self, widths: Widths, degraded: Tensor) -> Tensor:
        """What the network restores at these widths, (N, C, H, W)."""
        return self.sliced(self.prefix(widths), degraded)

    def at(self, share: float, min_width: int) -> dict[str, int]:
        """Unit -> max(w_min, floor(s c)), the share s as it is written: 0.29 of 100 channels are 29, though not in floating point."""
        exact = Fraction(str(share))
        return scaled(self.body, exact.numerator, min_width, exact.denominator)

    def prefix(self, widths: Widths) -> dict[str, range]:
        """Unit -> its first channels, for the units that lose some."""
        return {
            unit: range(width) for unit, width in widths.items() if width < self.body.widths[unit]
        }

    def cut(self, widths: Widths, finish: Finish, trainer: Trainer) -> Pruned:
        """The network at these widths alone, with statistics of its own."""
        kept = {unit: list(channels) for unit, channels in self.prefix(widths).items()}
        smaller = remove_channels(self.model, kept, self.input_shape, self.body.layout)
        estimate_statistics(smaller, trainer)
        shared = (
            sum(weight.numel() for weight in self.model.parameters()) if finish == "none" else None
        )
        return Pruned(smaller, finish, kept, stored_parameters=shared)


def train(
    slimmable: Slimmable,
    objective: Objective,
    start: Start,
    steps: int,
    trainer: Trainer,
    callback_state: Mapping[str, Any],
) -> None:
    """From new weights the whole schedule of a network of its own; from pretrained ones `steps` steps; `callback_state` as in `fit`."""
    if start == "scratch":
        trainer.reinitialise(slimmable.model)
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


def sandwich(
    slimmable: Slimmable,
    others: Callable[[], Sequence[Widths]],
    trainer: Trainer,
    distilled: bool = True,
) -> Objective:
    """The objective of US-Net: the widest network against the truth, the `others` of a step against its output, or the truth."""

    def objective(model: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
        widest = model(degraded)
        target = widest.detach() if distilled else clean
        losses = [trainer.criterion(slimmable.run(widths, degraded), target) for widths in others()]
        return trainer.criterion(widest, clean) + torch.stack(losses).sum()

    return objective


def estimate_statistics(model: nn.Module, trainer: Trainer) -> None:
    """Running statistics from a few training batches, as their plain mean; nothing happens where there are none."""
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
