"""DHP: differentiable pruning by hypernetworks (Li et al., DHP, ECCV 2020).

    1. Search: a hypernetwork with one latent for each channel generates the weights
       (hypernetwork.py); it is trained from scratch. After each step, the latents of all units are
       shortened by the same amount (latents.py). It ends as soon as the network without its small
       latents fits the budget.
    2. Keep the channels with the longest latents and generate their weights once.
    3. Convergence: train the plain network, with a new schedule.

The search ends at a peak of at most `tolerance` above the budget, both as shares of the unpruned
peak, and at the latest at its cap, after half of the steps: of pretraining, whose other steps are
those of the convergence, before the fine-tuning that every method gets; from a pretrained network,
of the training after pretraining, whose other steps are its fine-tuning. No step depends on the
budget, so a sweep has one search: it pauses near each budget, where a copy of its network is cut
and converges.

The paper's lambda of 0.1 assumes 60,000 steps of 1e-4. Here it follows from `shrinkage`, what the
proximal steps of a search up to its cap take from a latent. Of a U-Net of width 16 or 32, latents
that only shrink have to lose 0.3 for three quarters of the peak, 0.6 to 0.7 for half and 1.1 to 1.2
(at most 1.4, eight seeds) for a quarter. With 1.5, a quarter is reached at about 0.8 of the cap if
the learning rate is constant, and at 0.3 to 0.4 of it with the seven rates of a pretraining.

The search only comes near a budget. It is met by one threshold on |z| over all units (quantum: one
channel), which is the paper's rule with the threshold moved. Like any such ranking it ignores
memory, but no unit falls below the share `least_share` of the narrowest one (the paper: 4 channels,
at its width of 32), which makes the least peak larger than that of other methods: where it does not
fit, the budget is infeasible. A latent of zero does not remove its channel (B0, B1 and B2 still
generate weights): channels are removed from the generated weights.

The paper ties the layers before a PixelShuffle to the trunk of the network. Here they are a unit of
their own, as for every method.

Before (one search for all budgets, which shrank to its end; latents of equal size; four channels
at least) and after (study table1, from pretrained weights, with one learning-rate curve, PSNR in dB
at 0.75, 0.5 and 0.25 of the peak):

    seed    before                 after
    0       24.03  19.34  16.77    25.85  24.71  24.84
    1       28.27  26.00  16.70    28.31  26.20  16.60

What still separates it from the other methods at 0.75 is the training of the hypernetwork, which
disturbs pretrained weights: with a pace of 0.1 instead of 0.25, seed 0 has 27.89 dB at 0.75 and
25.79 at 0.5, but 16.65 at 0.25.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.contract import (
    NO_TRAINER,
    Budget,
    Departure,
    Phase,
    Pruned,
    Recipe,
    TraceStep,
    Trainer,
    largest_first,
)
from bench.errors import ConfigError, Infeasible
from bench.method_bases import SweepMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import global_ranking_widths
from methods.dhp.hypernetwork import Hypernetwork
from methods.dhp.latents import Latents, spread_by_rank

CHECK_INTERVAL = 5  # steps of the search between two looks at its peak, which wait for the device


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        network: a plain network with its generated weights.
        scores: unit -> importance of each channel by its latent, (C,).
        steps: how long the search took.
        note: for the trace: when the search ended, and why.
    """

    network: nn.Module
    scores: dict[str, Tensor]
    steps: int
    note: str


@method("dhp")
@dataclass(frozen=True)
class DHP(SweepMethod):
    """Removes the channels whose latents shrink.

    Args:
        shrinkage: by how much the proximal steps of a search up to its cap shorten a latent; they
            start with standard deviation 1.
        threshold: a latent below it counts as small.
        tolerance: how far above the budget the search may end, as a share of the unpruned peak; the
            network that comes out fits.
        least_share: channels that every unit keeps, as a share of the narrowest unit's; one at
            least, and as many as the recipe requires.
        embedding: m, the size of the vector that the weights between two channels are made from.
        pace: of the hypernetwork's training, as a share of the recipe's learning rate.
        start: "scratch" (new weights, search and convergence as long as pretraining, as in the
            paper) or "pretrained" (for short demonstrations: a hypernetwork that generates the
            pretrained weights, and up to half of the later training as search).
        importance: of the channels of a pretrained network; their ranks become the latents.
    """

    paper: ClassVar[str] = (
        "Li et al., DHP: Differentiable Meta Pruning via HyperNetworks, ECCV 2020"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="lambda = 0.1 at a rate of 1e-4",
            here="lambda follows from shrinkage and the rates of the search",
            why="the paper's assumes 60,000 steps; fewer would shrink nothing",
            effect="not measured",
        ),
        Departure(
            paper="stops within 2 % of the budget, above it or below",
            here="the same, then one threshold on all latents meets the budget exactly",
            why="no row may exceed its budget",
            effect="at most 2 % of the peak",
        ),
        Departure(
            paper="trains the hypernetwork at the rate of the network",
            here="at a quarter of it; pace = 1 in table1_paper",
            why=(
                "our rates are 20 times the paper's; the loss of a U-Net of width 8 rose to 1e5 "
                "within 200 steps"
            ),
            effect="divergence without",
        ),
        Departure(
            paper="at least 4 channels a unit",
            here="an eighth of the narrowest unit, which is 4 at width 32",
            why="at width 16, three units of 4 full-resolution channels are a quarter of the peak",
            effect="not measured apart from the rest; see the header",
        ),
        Departure(
            paper="ties the layers before a PixelShuffle to the trunk",
            here="they are a unit of their own",
            why="as for every method",
            effect="not measured",
        ),
    )
    shrinkage: float = 1.5
    threshold: float = 5e-3
    tolerance: float = 0.02
    least_share: float = 0.125
    embedding: int = 8
    pace: float = 0.25
    start: Literal["scratch", "pretrained"] = "scratch"
    importance: Importance = "l2"

    def __post_init__(self) -> None:
        if not (self.shrinkage >= 0 and self.tolerance >= 0 and 0 <= self.least_share <= 1):
            raise ConfigError(
                f"dhp: shrinkage = {self.shrinkage} and tolerance = {self.tolerance} must be 0 or "
                f"more, least_share = {self.least_share} must lie in [0, 1]"
            )
        if not (self.threshold > 0 and self.pace > 0 and self.embedding >= 1):
            raise ConfigError(
                f"dhp: threshold = {self.threshold} and pace = {self.pace} must be above 0, "
                f"embedding = {self.embedding} 1 or more"
            )

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining; from scratch, as many as pretraining has are added.

        Unless compute is matched, fine-tuning is added to the search in a pretrained network.
        """
        if self.start == "scratch":
            return recipe.pretrain_steps + recipe.tuning_steps
        return recipe.matched_steps or self.cap(recipe) + recipe.finetune_steps

    def sweep(
        self, model: nn.Module, budgets: Sequence[Budget], trainer: Trainer = NO_TRAINER
    ) -> Iterator[tuple[Budget, Pruned | Infeasible]]:
        """Yield the result of every budget once, largest first, along one search.

        A budget is charged the search up to it.
        """
        analysis = analyse_network(model, budgets[0])
        min_width = self.min_width(analysis, trainer.recipe)
        search = None
        for budget in largest_first(budgets):
            try:
                analysis.peak_model.check(budget, min_width)
            except Infeasible as infeasible:
                yield budget, infeasible
                continue
            search = search or Search(self, deepcopy(model), analysis, trainer)
            searched = search.go_on(budget)
            with trainer.branch():
                yield budget, self._converge(searched, analysis, budget, trainer)

    def _converge(
        self, searched: SearchResult, analysis: NetworkAnalysis, budget: Budget, trainer: Trainer
    ) -> Pruned:
        """Keep the channels with the longest latents that fit, and converge."""
        min_width = self.min_width(analysis, trainer.recipe)
        widths = global_ranking_widths(searched.scores, analysis, budget, min_width)
        kept = analysis.select_kept(searched.scores, widths)
        smaller = remove_channels(searched.network, kept, budget.input_shape, analysis.layout)
        if self.start == "scratch":
            steps = trainer.recipe.pretrain_steps - searched.steps
            trainer.fit(smaller, steps, phase="pretrain")
        step = TraceStep(analysis.peak_model.peak_bytes(widths), widths, searched.note)
        return Pruned(smaller, kept=kept, trace=(step,))

    def min_width(self, analysis: NetworkAnalysis, recipe: Recipe) -> int:
        """Return how many channels every unit keeps."""
        share = Fraction(str(self.least_share))  # as it prints: 0.29 of 100 is 29
        return max(1, recipe.min_width, int(share * min(analysis.widths.values())))

    def cap(self, recipe: Recipe) -> int:
        """Return the most steps that a search takes."""
        return (recipe.pretrain_steps if self.start == "scratch" else recipe.tuning_steps) // 2


class Search:
    """The training of a hypernetwork, which pauses near each budget.

    Args:
        method: gives the options.
        model: runs with the generated weights; what is not generated is trained in it.
        analysis: of the network.
        trainer: does the training.
    """

    def __init__(
        self, method: DHP, model: nn.Module, analysis: NetworkAnalysis, trainer: Trainer
    ) -> None:
        self.model = model.train()
        self.trainer = trainer
        self.peak_model = analysis.peak_model
        self.tolerance_bytes = method.tolerance * self.peak_model.peak_bytes(analysis.widths)
        self.hypernetwork = _build_hypernetwork(method, model, analysis, trainer)
        min_width = method.min_width(analysis, trainer.recipe)
        self.latents = Latents(
            self.hypernetwork.latents, analysis.widths, min_width, method.threshold
        )
        phase: Phase = "pretrain" if method.start == "scratch" else "search"
        self.steps, self.cap = 0, method.cap(trainer.recipe)
        rate_sum = sum(trainer.learning_rates(phase, self.cap))
        self.strength = method.shrinkage / max(rate_sum, 1e-12)
        self.callback_state: dict[str, Any] = {
            "network": model,
            "steps at zero": self.latents.steps_at_zero,
            "limit": 0.0,  # bytes, of the present budget
        }
        self.parts = trainer.fit_in_parts(
            self.hypernetwork,
            self.cap,
            phase=phase,
            objective=self._compute_loss,
            after_step=self._shrink,
            callback_state=self.callback_state,
        )

    def go_on(self, budget: Budget) -> SearchResult:
        """Search until the network comes near a budget, no larger than the last, or to the cap."""
        self.callback_state["limit"] = budget.peak_bytes + self.tolerance_bytes
        if not self._is_near_budget():
            with self.trainer.count_calls(self.model):
                self.steps = next(self.parts, self.steps)
        network = deepcopy(self.model)
        self.hypernetwork.write_weights(network.eval())
        reason = "budget reached" if self._is_near_budget() else "cap reached"
        note = (
            f"search stopped after {self.steps} of at most {self.cap} steps: {reason}; "
            f"{self.latents.count_small()} of {len(self.latents.owners)} latents below "
            f"{self.latents.threshold:g}"
        )
        return SearchResult(network, self.latents.scores(), self.steps, note)

    def _compute_loss(self, _: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
        """Return the loss with generated weights."""
        return self.trainer.criterion(self.hypernetwork.run(self.model, degraded), clean)

    def _shrink(self, index: int, rate: float) -> bool:
        """Take the proximal step; return whether the search is near the budget, where it looks."""
        self.latents.shrink(self.strength * rate)
        return (index + 1) % CHECK_INTERVAL == 0 and self._is_near_budget()

    def _is_near_budget(self) -> bool:
        """Return whether the network without its small latents comes near the budget."""
        peak_bytes = self.peak_model.peak_bytes(self.latents.masked_widths())
        return bool(peak_bytes <= self.callback_state["limit"])


def _build_hypernetwork(
    method: DHP, model: nn.Module, analysis: NetworkAnalysis, trainer: Trainer
) -> Hypernetwork:
    """Return the hypernetwork as the search starts with it."""
    if method.start == "scratch":
        trainer.reinitialise(model)
        scores = None
    else:
        scores = score_channels(method.importance, model, analysis.layout, trainer)
    hypernetwork = Hypernetwork(model, analysis.layout, method.embedding, method.pace, trainer.seed)
    if scores is None:
        hypernetwork.zero_biases(model)
    else:
        latents = [spread_by_rank(scores[unit]) for unit in analysis.widths]
        hypernetwork.reproduce(model, torch.cat(latents))
    return hypernetwork
