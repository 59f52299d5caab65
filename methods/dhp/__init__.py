"""DHP: differentiable pruning by hypernetworks (Li et al., DHP, ECCV 2020).

    1. A hypernetwork with one latent for each channel generates the weights (hypernetwork.py); it
       is trained from scratch.
    2. After each step, the latents of all units are shortened by the same amount (latents.py).
    3. Keep the channels with the longest latents, generate their weights once, and fine-tune the
       plain network.

The paper stops its search when the resource comes near the target. Here it lasts as long as
pretraining, so that one search serves every budget, and the amount comes from `shrinkage`, an
option, and the learning rates: the paper's lambda of 0.1 assumes 60,000 steps of 1e-4.

A budget is met by one threshold on |z| over all units (quantum: one channel), which is the paper's
rule with the threshold moved. Like any such ranking it ignores memory, but no unit falls below
`least_width`, which makes the least peak larger than that of other methods: where it does not fit,
the budget is infeasible. A latent of zero does not remove its channel (B0, B1 and B2 still generate
weights): channels are removed from the generated weights.

The paper ties the layers before a PixelShuffle to the trunk of the network. Here they are a unit of
their own, as for every method.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.contract import Budget, Phase, Pruned, Recipe, TraceStep, Trainer
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.importance import channel_norms
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import global_ranking_widths
from methods.dhp.hypernetwork import Hypernetwork
from methods.dhp.latents import Latents


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        network: a plain network with its generated weights.
        analysis: of the network.
        scores: unit -> importance of each channel by its latent, (C,).
        note: for the trace: how many latents became small.
    """

    network: nn.Module
    analysis: NetworkAnalysis
    scores: dict[str, Tensor]
    note: str


@method("dhp")
@dataclass(frozen=True)
class DHP(StagedMethod[SearchResult]):
    """Removes the channels whose latents shrink.

    Args:
        shrinkage: by how much the proximal steps of the whole search shorten a latent; latents
            start with standard deviation 1.
        threshold: a latent below it counts as small.
        least_width: channels that every unit keeps, unless the recipe requires more.
        embedding: m, the size of the vector that the weights between two channels are made from.
        pace: of the hypernetwork's training, as a share of the recipe's learning rate.
        start: "scratch" (new weights, a search as long as pretraining, as in the paper) or
            "pretrained" (for short demonstrations: a hypernetwork that generates the pretrained
            weights, with norms as latents, and half of the later training as search).
    """

    paper: ClassVar[str] = (
        "Li et al., DHP: Differentiable Meta Pruning via HyperNetworks, ECCV 2020"
    )
    shrinkage: float = 1.0
    threshold: float = 5e-3
    least_width: int = 4
    embedding: int = 8
    pace: float = 0.25
    start: Literal["scratch", "pretrained"] = "scratch"

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining; from scratch, the search lasts as long as that."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.start == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> SearchResult:
        """Run the search."""
        analysis = analyse_network(model, budget)
        recipe = trainer.recipe
        phase: Phase = "pretrain" if self.start == "scratch" else "search"
        steps = recipe.pretrain_steps if self.start == "scratch" else recipe.tuning_steps // 2
        hypernetwork = self._build_hypernetwork(model, analysis, trainer)
        latents = Latents(hypernetwork.latents, analysis.widths, self.least_width, self.threshold)
        before = latents.count_small()
        strength = self.shrinkage / max(sum(trainer.learning_rates(phase, steps)), 1e-12)

        def objective(_: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
            return trainer.criterion(hypernetwork.run(model, degraded), clean)

        def shrink(_: int, rate: float) -> None:
            latents.shrink(strength * rate)

        model.train()
        with trainer.count_calls(model):
            trainer.fit(
                hypernetwork,
                steps,
                phase=phase,
                objective=objective,
                after_step=shrink,
                callback_state={"network": model, "steps at zero": latents.steps_at_zero},
            )
        hypernetwork.write_weights(model.eval())
        note = (
            f"shrinkage {self.shrinkage:g}: {before} latents below {self.threshold:g} "
            f"before the search, {latents.count_small()} after it, of {analysis.layout.size}"
        )
        return SearchResult(model, analysis, latents.scores(), note)

    def cut(self, prepared: SearchResult, budget: Budget, trainer: Trainer) -> Pruned:
        """Keep the channels with the longest latents that fit.

        Raises:
            Infeasible: the least widths do not fit.
        """
        analysis = prepared.analysis
        min_width = max(self.least_width, trainer.recipe.min_width)
        widths = global_ranking_widths(prepared.scores, analysis, budget, min_width)
        kept = analysis.select_kept(prepared.scores, widths)
        smaller = remove_channels(prepared.network, kept, budget.input_shape, analysis.layout)
        step = TraceStep(analysis.peak_model.peak_bytes(widths), widths, prepared.note)
        return Pruned(smaller, kept=kept, trace=(step,))

    def _build_hypernetwork(
        self, model: nn.Module, analysis: NetworkAnalysis, trainer: Trainer
    ) -> Hypernetwork:
        """Return the hypernetwork as the search starts with it."""
        if self.start == "scratch":
            trainer.reinitialise(model)
        hypernetwork = Hypernetwork(model, analysis.layout, self.embedding, self.pace, trainer.seed)
        if self.start == "scratch":
            hypernetwork.zero_biases(model)
        else:
            relative = [
                score / score.mean().clamp_min(1e-12)
                for score in channel_norms(model, analysis.layout).values()
            ]
            hypernetwork.reproduce(model, torch.cat(relative))
        return hypernetwork
