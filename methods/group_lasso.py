"""Group Lasso, or SSL: a penalty drives whole channels to zero before anything is removed (Wen et al., NeurIPS 2016).

    min  L(W) + lambda sum_j ||W_j||      W_j: all weights that make place j of a unit, over its tied layers, as one vector

A gradient of the norm would go through Adam, which rescales it, and would never reach zero. So
after each Adam step comes the proximal step of the penalty, which is exact,

    W_j <- max(0, 1 - lr lambda / ||W_j||) W_j

and in a group that is zero the bias is zeroed too, and so are the entries of a normalisation or a
scale for that channel: it then gives nothing at all, unless a function that turns zeros into
something else (a sigmoid) or a mean over channels comes behind it.

||W_j|| = sqrt(m_j) times the score of `norms` (bench.surgery.importance), where m_j is the number
of channels that lie at the place: over tied layers the groups are concatenated, so that all of them
vanish together. All steps together take lambda sum_t lr_t off a norm, and

    lambda = strength median ||W_j|| / sum_t lr_t

makes `strength` a number of the same meaning for any network and schedule. It is an option, never
derived from a budget: how much of the network has vanished before selection is a result, and stands
in the diary. Groups are not weighted by their size, as in the paper. Its second family of groups,
input channels, is left out: that one reader drops a channel does not remove it.

All norms fall at the same pace and are much alike, so that groups vanish nearly together. A trial
(denoising U-Net of width 16, one seed, 320 steps here and 680 of fine-tuning; the loss on
calibration crops after it, at half of the peak):

    strength            0         0.5       0.75      1         1.5       2
    zero groups         0 %       0 %       0.1 %     8 %       92 %      99.9 %
    uniform             0.0591    0.0442    0.0476    0.0575    0.0860    0.4029
    threshold           0.0821    0.0979    0.0933    0.0967    0.0863    0.3868

The default shrinks without reaching zero; from strength 1 on the network is taken apart before the
budget is known.

Allocation of a budget: "uniform", the same share of every unit (its parameters are those of uniform
scaling, as in the paper's table; quantum: one step of the grid), or "threshold", one list of all
group norms (quantum: one channel).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.channels.units import STAYS, Layout, Places
from bench.contract import Budget, Pruned, Recipe, TraceStep, Trainer
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.surgery.importance import Scores
from bench.surgery.masks import output_slices
from bench.surgery.remove import remove_channels
from bench.surgery.shared_weights import weight_axes
from bench.surgery.width_search import global_ranking_widths, uniform_widths


@dataclass(frozen=True)
class Sparse:
    """A network after regularised training, its units, the norms of its groups, and a line on what has vanished."""

    network: nn.Module
    body: NetworkAnalysis
    scores: Scores
    note: str


@method("group_lasso")
@dataclass(frozen=True)
class GroupLasso(StagedMethod[Sparse]):
    """Trains with a penalty on whole channels, and removes those with the smallest norm.

    Args:
        strength: what all proximal steps together take off a norm, in medians of the norms before
            training.
        epochs: of regularised training.
        allocation: how a budget is shared out: "uniform" or "threshold".
    """

    paper: ClassVar[str] = (
        "Wen et al., Learning Structured Sparsity in Deep Neural Networks, NeurIPS 2016"
    )
    strength: float = 0.5
    epochs: int = 20
    allocation: Literal["uniform", "threshold"] = "uniform"

    def __post_init__(self) -> None:
        if self.strength < 0 or self.epochs < 1:
            raise ConfigError(
                f"group_lasso: strength = {self.strength} must be at least 0 and epochs = {self.epochs} at least 1"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Where compute is not matched, fine-tuning comes on top of the regularised training."""
        return recipe.matched_steps or self._steps(recipe) + recipe.finetune_steps

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Sparse:
        """The regularised training."""
        body, steps = analyze_network(model, budget), self._steps(trainer.recipe)
        groups = Groups(model.to(trainer.device), body.layout)
        before = float(groups.norms().median())
        penalty = self.strength * before / sum(trainer.learning_rates("search", steps))
        shrink = (
            (lambda _, rate: groups.shrink(rate * penalty)) if penalty else None
        )  # without a penalty: plain training, bit for bit
        trainer.fit(
            model, steps, phase="search", after_step=shrink, callback_state={"lambda": penalty}
        )
        norms = groups.norms().cpu()
        note = (
            f"strength {self.strength:g}, lambda {penalty:.3g}: {int((norms == 0).sum())} of {len(norms)} groups are zero "
            f"({float((norms == 0).double().mean()):.1%}); median norm {before:.3g} before, {float(norms.median()):.3g} after"
        )
        return Sparse(
            model.eval(),
            body,
            {unit: norms[body.layout.places(unit)] for unit in body.widths},
            note,
        )

    def cut(self, prepared: Sparse, budget: Budget, trainer: Trainer) -> Pruned:
        """The groups with the largest norms that fit.

        Raises Infeasible if the least widths do not.
        """
        body, scores, floor = prepared.body, prepared.scores, trainer.recipe.min_width
        uniform = self.allocation == "uniform"
        widths = (
            uniform_widths(body, budget, floor)
            if uniform
            else global_ranking_widths(scores, body, budget, floor)
        )
        kept = body.keep(scores, widths)
        trace = (
            TraceStep(body.peaks.peak_bytes(body.widths), body.widths, prepared.note),
            TraceStep(body.peaks.peak_bytes(widths), widths, "cut"),
        )
        return Pruned(
            remove_channels(prepared.network, kept, budget.input_shape, body.layout),
            kept=kept,
            trace=trace,
        )

    def _steps(self, recipe: Recipe) -> int:
        return self.epochs * recipe.steps_per_epoch


class Groups:
    """The weights of a network as groups, one for each place of a unit.

    Args:
        model: its weights are changed in place.
        channels: its layout.
    """

    def __init__(self, model: nn.Module, channels: Layout) -> None:
        weights, axes, self._places = (
            dict(model.named_parameters()),
            weight_axes(model, channels),
            channels.size,
        )
        made = [
            (f"{layer}.weight", output_slices(model.get_submodule(layer))[1], row)
            for layer, row in channels.makes.items()
        ]
        mixing = {f"{layer}.weight" for layer in (*channels.makes, *channels.reads)}
        attached = [
            (name, *one)
            for name in weights
            if name not in mixing
            for one in axes.get(name, {}).items()
        ]
        self._made = [
            _slices(weights[name], axis, row % (channels.size + 1)) for name, axis, row in made
        ]
        self._attached = [
            _slices(weights[name], axis, row % (channels.size + 1)) for name, axis, row in attached
        ]

    @torch.no_grad()
    def norms(self) -> Tensor:
        """(places,): of each group."""
        return self._norms()[:-1]

    @torch.no_grad()
    def shrink(self, threshold: float) -> None:
        """The proximal step of `threshold` times the norm, for all groups."""
        norms = self._norms()
        factors = torch.where(norms > threshold, 1 - threshold / norms, 0.0)
        factors[STAYS] = 1.0
        for weight, shape, at in self._made:
            weight.mul_(factors[at].view(shape))
        for weight, shape, at in self._attached:
            weight.mul_((factors[at] > 0).view(shape))

    def _norms(self) -> Tensor:
        """(places + 1,): the last is that of all channels that stay."""
        squares = self._made[0][0].new_zeros(self._places + 1)
        for weight, shape, at in self._made:
            squares.index_add_(
                0, at, weight.square().sum([axis for axis, size in enumerate(shape) if size == 1])
            )
        return squares.sqrt()


def _slices(weight: Tensor, axis: int, places: Places) -> tuple[Tensor, list[int], Tensor]:
    """A weight, the shape of one number for each of its slices along an axis, and int64 (slices,): their places."""
    shape = [-1 if each == axis else 1 for each in range(weight.ndim)]
    return weight, shape, torch.from_numpy(places).to(weight.device)
