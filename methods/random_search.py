"""Random channel pruning: draw widths at random, keep the best network of many, train that one.

Li et al., Revisiting Random Channel Pruning for Neural Network Compression, CVPR 2022.

    r_u ~ U(0.1, 1)  for every unit                  w_u(a) = clip(round(a r_u c_u), w_min, c_u)

The *configuration* is random; the channels of a unit are removed by their L1 norm, or by another
criterion (the paper compares several and finds no winner). The paper rejects draws whose cost is
not near the target. Here the scale `a` of a draw is raised until the next change of any width
breaks the budget, so that no draw is wasted. Channel k of a unit enters at
a = (k + 1/2) / (r_u c_u), so this is one ranking of all channels of all units by that number, and
the quantum is one channel. Every draw fits if the least widths do; the samplers still get the
excess over the budget as a constraint.

Every candidate is cut out and judged by its loss without training; with `update`, after its weights
are fitted to the unpruned outputs by least squares (bench.surgery.least_squares; about a second
each on a U-Net of width 16). The best one is fine-tuned. The paper's thesis is that this is a
strong baseline: the trace has mean and standard deviation over all candidates. Surgery is verified
for the best one only: it took a third of the time of a candidate.

Budgets share the draws, but no losses: a draw is scaled to each budget, and other widths are other
networks. One pool of candidates for all budgets would have to judge a budget by networks that are
smaller than it allows, or by those that were scaled to the other budgets of the sweep.

"random" draws the same ratios for all budgets. "tpe" and "nsga2" learn from the candidates of their
budget. A draw depends on the seed and on the losses before it, so a run that was killed is repeated
from the start, takes every loss that the trainer remembers, and ends with the same result. The name
of a loss consists of the widths and a hash of the network, so those of another network are never
taken.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev
from typing import ClassVar, Literal

import optuna
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from torch import Tensor, nn

from bench.contract import Budget, Departure, Kept, Pruned, Recipe, TraceStep, Trainer, Widths
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyse_network
from bench.surgery.channel_scores import Importance, score_channels
from bench.surgery.importance import ChannelScores
from bench.surgery.least_squares import Outputs, layer_outputs, update_weights
from bench.surgery.remove import cut_copy, remove_channels
from bench.surgery.width_search import global_ranking_widths

MIN_RATIO = 0.1
LEAST_SQUARES_CROPS = 16
Ratios = Mapping[str, float]  # unit -> r_u


@dataclass(frozen=True)
class SearchContext:
    """The data that all candidates of all budgets share.

    Args:
        model: the unpruned network.
        analysis: of the unpruned network.
        scores: unit -> importance of each channel, (C,); the least important are removed first.
        crops: degraded crops, (N, C, H, W).
        outputs: layer -> its output for the crops; empty without `update`.
        fingerprint: changes with anything that changes the loss of a candidate.
    """

    model: nn.Module
    analysis: NetworkAnalysis
    scores: ChannelScores
    crops: Tensor
    outputs: Outputs
    fingerprint: str


@method("random_search")
@dataclass(frozen=True)
class RandomSearch(StagedMethod[SearchContext]):
    """Keeps the best of many random networks.

    Args:
        samples: candidates for each budget.
        sampler: draws the ratios: "random", or one that learns from earlier candidates.
        importance: the criterion by which the channels of a unit are ranked.
        update: fit the weights of every candidate to the unpruned outputs by least squares.
        finish: "finetune", or "scratch": new weights and the whole schedule for the best widths.
    """

    paper: ClassVar[str] = (
        "Li et al., Revisiting Random Channel Pruning for Neural Network Compression, CVPR 2022"
    )
    departures: ClassVar[tuple[Departure, ...]] = (
        Departure(
            paper="rejects draws whose cost is not near the target",
            here="scales each draw up to the budget",
            why="no draw is wasted",
            effect="not measured",
        ),
    )
    samples: int = 100
    sampler: Literal["random", "tpe", "nsga2"] = "random"
    importance: Importance = "l1"
    update: bool = False
    finish: Literal["finetune", "scratch"] = "finetune"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"random_search: samples = {self.samples} must be at least 1")

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the steps after pretraining; from scratch, pretraining is repeated."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.finish == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> SearchContext:
        """Score the channels and, if weights are updated, record the outputs of all layers."""
        analysis = analyse_network(model, budget)
        crops = torch.cat([degraded for degraded, _ in trainer.calibration])
        outputs: Outputs = {}
        if self.update:
            with trainer.count_calls(model):
                outputs = layer_outputs(model, crops[:LEAST_SQUARES_CROPS])
        scores = score_channels(self.importance, model, analysis.layout, trainer)
        fingerprint = _hash_inputs(model, crops, self.importance, self.update)
        crops = crops[:LEAST_SQUARES_CROPS]
        return SearchContext(model, analysis, scores, crops, outputs, fingerprint)

    def cut(self, prepared: SearchContext, budget: Budget, trainer: Trainer) -> Pruned:
        """Return the candidate with the least loss.

        Raises:
            Infeasible: the least widths do not fit.
        """
        analysis = prepared.analysis
        min_width = trainer.recipe.min_width
        analysis.peak_model.check(budget, min_width)
        study = self._search(prepared, budget, trainer)
        losses = [float(trial.values[0]) for trial in study.trials]
        best = study.trials[losses.index(min(losses))]
        widths = fit_widths(best.params, analysis, budget, min_width)
        kept = analysis.select_kept(prepared.scores, widths)
        note = (
            f"best of {len(losses)}: loss {min(losses):.4g}; "
            f"all {fmean(losses):.4g} +- {pstdev(losses):.4g}"
        )
        smaller = remove_channels(prepared.model, kept, budget.input_shape, analysis.layout)
        self._update_weights(smaller, kept, prepared, trainer)
        step = TraceStep(analysis.peak_model.peak_bytes(widths), widths, note)
        return Pruned(smaller, self.finish, kept, trace=(step,))

    def _search(self, context: SearchContext, budget: Budget, trainer: Trainer) -> optuna.Study:
        """Judge all candidates; return them as a study in memory."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        analysis = context.analysis
        study = optuna.create_study(sampler=self._make_sampler(trainer.seed))
        space: dict[str, BaseDistribution] = {
            unit: FloatDistribution(MIN_RATIO, 1.0) for unit in analysis.widths
        }
        losses: dict[str, float] = {}
        for _ in range(self.samples):
            trial = study.ask(space)
            widths = fit_widths(trial.params, analysis, budget, trainer.recipe.min_width)
            excess_bytes = analysis.peak_model.peak_bytes(widths) - budget.peak_bytes
            trial.set_constraint("excess_bytes", excess_bytes)
            name = f"{context.fingerprint} {widths}"
            if name not in losses:  # NSGA-II may draw the same widths again
                measure = partial(self._measure_loss, context, widths, trainer)
                losses[name] = trainer.remember(name, measure)
            study.tell(trial, losses[name])
        return study

    def _measure_loss(self, context: SearchContext, widths: Widths, trainer: Trainer) -> float:
        """Return the loss of the candidate with these widths, which is cut out and not verified."""
        layout = context.analysis.layout
        kept = context.analysis.select_kept(context.scores, widths)
        smaller, _ = cut_copy(context.model, layout, kept, shares_weights=not self.update)
        self._update_weights(smaller, kept, context, trainer)
        return trainer.loss(smaller)

    def _update_weights(
        self, smaller: nn.Module, kept: Kept, context: SearchContext, trainer: Trainer
    ) -> None:
        """Fit the weights of a candidate to the unpruned outputs, with `update`."""
        if self.update:
            with trainer.count_calls(smaller):
                layout = context.analysis.layout
                update_weights(smaller, kept, layout, context.outputs, context.crops)

    def _make_sampler(self, seed: int) -> BaseSampler:
        """Return the sampler of the ratios.

        TPE starts to learn after a tenth of the samples. NSGA-II has five generations; its default
        size of 50 would leave it two.
        """
        if self.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=-(-self.samples // 10))
        if self.sampler == "nsga2":
            return NSGAIISampler(seed=seed, population_size=max(2, self.samples // 5))
        return RandomSampler(seed=seed)


def fit_widths(
    ratios: Ratios, analysis: NetworkAnalysis, budget: Budget, min_width: int
) -> dict[str, int]:
    """Return the widths w(a) with the largest scale a that fits.

    Raises:
        Infeasible: the least widths do not fit.
    """
    # The scale at which a channel enters, negated: those that enter last are removed first.
    scores = {
        unit: -(torch.arange(full, dtype=torch.float64) + 0.5) / (ratios[unit] * full)
        for unit, full in analysis.widths.items()
    }
    return global_ranking_widths(scores, analysis, budget, min_width)


def _hash_inputs(model: nn.Module, crops: Tensor, *options: object) -> str:
    """Return a hash of weights, crops and options."""
    digest = hashlib.sha256(repr(options).encode())
    for tensor in (*model.state_dict().values(), crops):
        flat = tensor.detach().cpu().reshape(-1).contiguous()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
