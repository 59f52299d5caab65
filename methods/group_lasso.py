"""Group Lasso, or SSL: a penalty drives whole channels to zero before any is removed.

Wen et al., Learning Structured Sparsity in Deep Neural Networks, NeurIPS 2016.

    min  L(W) + lambda sum_j ||W_j||

    W_j: all weights that compute slot j of a unit, over its tied layers, as one vector

A gradient of the norm would pass through Adam, which rescales it, and would never reach zero. So
each Adam step is followed by the proximal step of the penalty, which is exact,

    W_j <- max(0, 1 - lr lambda / ||W_j||) W_j

and in a group that is zero, the bias is zeroed too, and so are the entries of a normalisation or a
scale for that channel. The channel then contributes nothing, unless a function that turns zeros
into something else (a sigmoid) or a mean over channels follows.

||W_j|| = sqrt(m_j) times the score of `channel_norms` (bench.surgery.importance), where m_j is the
number of channels in the slot: over tied layers the groups are concatenated, so that they all
vanish together. All steps together subtract lambda sum_t lr_t from a norm, and

    lambda = strength median ||W_j|| / sum_t lr_t

gives `strength` the same meaning for any network and schedule. It is an option, never derived from
a budget: how much of the network has vanished before selection is a result, and the trace reports
it. Groups are not weighted by their size, as in the paper. The paper's second family of groups,
input channels, is left out: a channel that one reader ignores cannot be removed for that.

All norms fall at the same pace and are much alike, so groups vanish nearly together. A trial
(denoising U-Net of width 16, one seed, 320 steps here and 680 of fine-tuning; the loss on
calibration crops after it, at half of the peak):

    strength            0         0.5       0.75      1         1.5       2
    zero groups         0 %       0 %       0.1 %     8 %       92 %      99.9 %
    uniform             0.0591    0.0442    0.0476    0.0575    0.0860    0.4029
    threshold           0.0821    0.0979    0.0933    0.0967    0.0863    0.3868

The default shrinks groups without zeroing any; from strength 1 on the network is dismantled before
the budget is known.

With matched steps this training takes at most a third of the steps after pretraining, so that two
thirds are left for the network that is cut out. Before and after all phases have one
learning-rate curve (study table1, PSNR in dB at 0.75, 0.5 and 0.25 of the peak; before, the steps
after the cut had a curve of their own, which decayed five times):

    seed    before                 after
    0       28.32  25.74  18.11    28.00  25.95  23.68
    1       28.30  27.16  17.04    27.44  27.41  19.03

The published criterion is the norm of a group (`importance = "l2"`); others score the network that
was trained with the penalty. Allocation of a budget: "uniform", the same share of every unit (as
many parameters as with uniform scaling, as in the paper's table; quantum: one step of the grid), or
"threshold", one ranking of all channels (quantum: one channel).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.channels.units import STAYS, Layout, Slots
from bench.contract import Budget, Departure, Pruned, Recipe, TraceStep, Trainer
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import ChannelScores
from bench.surgery.masks import weight_and_output_axis
from bench.surgery.remove import remove_channels
from bench.surgery.shared_weights import weight_axes
from bench.surgery.width_search import global_ranking_widths, uniform_widths


@dataclass(frozen=True)
class RegularisedNetwork:
    """A network after regularised training.

    Args:
        network: in eval mode.
        analysis: of the network.
        scores: unit -> importance of each channel, (C,); by default the norms of its groups.
        note: for the trace: how many groups have vanished.
    """

    network: nn.Module
    analysis: NetworkAnalysis
    scores: ChannelScores
    note: str


@method("group_lasso")
@dataclass(frozen=True)
class GroupLasso(StagedMethod[RegularisedNetwork]):
    """Trains with a penalty on whole channels, and removes the least important ones.

    Args:
        strength: what all proximal steps together subtract from a norm, in medians of the norms
            before training.
        epochs: of regularised training; with matched steps at most a third of these.
        allocation: how a budget is distributed over the units: "uniform" or "threshold".
        importance: orders the channels after the training; "l2" are the norms of the groups.
    """

    paper: ClassVar[str] = (
        "Wen et al., Learning Structured Sparsity in Deep Neural Networks, NeurIPS 2016"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="a gradient of the penalty, by SGD",
            here="a proximal step after each step of Adam",
            why="Adam rescales a gradient, and norms would never reach zero",
            effect="not measured",
        ),
        Departure(
            paper="groups of output and of input channels",
            here="groups of output channels",
            why="an input channel that one reader ignores cannot be removed",
            effect="not measured",
        ),
        Departure(
            paper="the penalty decides how much each layer loses",
            here='the same share of every unit; allocation = "threshold" is the paper\'s',
            why="the parameters of this row in the MOSP paper are those of uniform scaling",
            effect="not measured on the present curve",
        ),
        Departure(
            paper="regularised training as long as training itself",
            here="with matched steps, at most a third of them",
            why="what is cut out needs a whole fine-tuning",
            effect="none in table1, where 20 epochs are a third",
        ),
    )
    strength: float = 0.5
    epochs: int = 20
    allocation: Literal["uniform", "threshold"] = "uniform"
    importance: Importance = "l2"

    def __post_init__(self) -> None:
        if self.strength < 0 or self.epochs < 1:
            raise ConfigError(
                f"group_lasso: strength = {self.strength} must be at least 0 "
                f"and epochs = {self.epochs} at least 1"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining.

        Unless compute is matched, fine-tuning is added to the regularised training.
        """
        return recipe.matched_steps or self._steps(recipe) + recipe.finetune_steps

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> RegularisedNetwork:
        """Train the network with the penalty."""
        analysis = analyse_network(model, budget)
        steps = self._steps(trainer.recipe)
        groups = WeightGroups(model.to(trainer.device), analysis.layout)
        before = float(groups.norms().median())
        penalty = self.strength * before / sum(trainer.learning_rates("search", steps))
        # Without a penalty there is no callback: plain training, bit for bit.
        shrink = (lambda _, rate: groups.shrink(rate * penalty)) if penalty else None
        trainer.fit(
            model, steps, phase="search", after_step=shrink, callback_state={"lambda": penalty}
        )
        norms = groups.norms().cpu()
        zero = norms == 0
        note = (
            f"strength {self.strength:g}, lambda {penalty:.3g}: "
            f"{int(zero.sum())} of {len(norms)} groups are zero "
            f"({float(zero.double().mean()):.1%}); "
            f"median norm {before:.3g} before, {float(norms.median()):.3g} after"
        )
        if self.importance == "l2":
            scores = {unit: norms[analysis.layout.slots(unit)] for unit in analysis.widths}
        else:
            scores = score_channels(self.importance, model, analysis.layout, trainer)
        return RegularisedNetwork(model.eval(), analysis, scores, note)

    def check_budget(self, model: nn.Module, budget: Budget, trainer: Trainer) -> None:
        """Raise Infeasible if the least widths do not fit."""
        analyse_network(model, budget).peak_model.check(budget, trainer.recipe.min_width)

    def cut(self, prepared: RegularisedNetwork, budget: Budget, trainer: Trainer) -> Pruned:
        """Keep the most important channels that fit.

        Raises:
            Infeasible: the least widths do not fit.
        """
        analysis = prepared.analysis
        min_width = trainer.recipe.min_width
        if self.allocation == "uniform":
            widths = uniform_widths(analysis, budget, min_width)
        else:
            widths = global_ranking_widths(prepared.scores, analysis, budget, min_width)
        kept = analysis.select_kept(prepared.scores, widths)
        full_bytes = analysis.peak_model.peak_bytes(analysis.widths)
        trace = (
            TraceStep(full_bytes, analysis.widths, prepared.note),
            TraceStep(analysis.peak_model.peak_bytes(widths), widths, "cut"),
        )
        smaller = remove_channels(prepared.network, kept, budget.input_shape, analysis.layout)
        return Pruned(smaller, kept=kept, trace=trace)

    def _steps(self, recipe: Recipe) -> int:
        """Return the steps of regularised training."""
        steps = self.epochs * recipe.steps_per_epoch
        return min(steps, max(1, recipe.matched_steps // 3)) if recipe.matched_steps else steps


class WeightGroups:
    """The weights of a network as groups, one for each slot of a unit.

    Args:
        model: its weights are changed in place.
        layout: of the network.
    """

    def __init__(self, model: nn.Module, layout: Layout) -> None:
        weights = dict(model.named_parameters())
        axes = weight_axes(model, layout)
        self._size = layout.size
        self._grouped = []  # slices that are part of a group
        for layer, slots in layout.makes.items():
            weight = weights[f"{layer}.weight"]
            axis = weight_and_output_axis(model.get_submodule(layer))[1]
            self._grouped.append(_locate_slices(weight, axis, slots % (self._size + 1)))
        mixing = {f"{layer}.weight" for layer in (*layout.makes, *layout.reads)}
        self._attached = [  # slices that are zeroed with their group
            _locate_slices(weight, axis, slots % (self._size + 1))
            for name, weight in weights.items()
            if name not in mixing
            for axis, slots in axes.get(name, {}).items()
        ]

    @torch.no_grad()
    def norms(self) -> Tensor:
        """Return the norm of each group, (slots,)."""
        return self._norms()[:-1]

    @torch.no_grad()
    def shrink(self, threshold: float) -> None:
        """Apply the proximal step of `threshold` times the norm to all groups, in place."""
        norms = self._norms()
        factors = torch.where(norms > threshold, 1 - threshold / norms, 0.0)
        factors[STAYS] = 1.0
        for weight, shape, slots in self._grouped:
            weight.mul_(factors[slots].view(shape))
        for weight, shape, slots in self._attached:
            weight.mul_((factors[slots] > 0).view(shape))

    def _norms(self) -> Tensor:
        """Return the norms of the groups and, last, of all channels that stay, (slots + 1,)."""
        squares = self._grouped[0][0].new_zeros(self._size + 1)
        for weight, shape, slots in self._grouped:
            other_axes = [axis for axis, size in enumerate(shape) if size == 1]
            squares.index_add_(0, slots, weight.square().sum(other_axes))
        return squares.sqrt()


def _locate_slices(weight: Tensor, axis: int, slots: Slots) -> tuple[Tensor, list[int], Tensor]:
    """Return how to reach the slices of a weight along an axis.

    Returns:
        The weight, the shape of a tensor with one number for each slice, and the slots of the
        slices, int64 (slices,).
    """
    shape = [-1 if dim == axis else 1 for dim in range(weight.ndim)]
    return weight, shape, torch.from_numpy(slots).to(weight.device)
