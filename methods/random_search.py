"""Random channel pruning: draw widths at random, keep the best network of many, train that one (Li et al., CVPR 2022).

    r_u ~ U(0.1, 1)  for every unit                  w_u(a) = clip(round(a r_u c_u), w_min, c_u)

What is random is the *configuration*; the channels of a unit go by the norm of their weights. The
paper rejects draws whose cost is not near the target. Here `a`, the one knob of a draw, is raised
until the next change of any width breaks the budget, so that no draw is wasted: channel k of a unit
comes in at a = (k + 1/2) / (r_u c_u), so this is a list of all channels of all units by that
number, and the quantum is one channel. Every draw fits if the least widths do; the samplers are
told the excess over the budget all the same.

Every candidate is cut out and judged by its loss without training; with `update`, after its weights
were fitted to the unpruned outputs by least squares (bench.surgery.least_squares; about a second
each on a U-Net of width 16). The best goes on to fine-tuning. The paper's thesis is that this is
strong: the trace has mean and standard deviation over all candidates.

"random" draws one pool for all budgets. "tpe" and "nsga2" learn from the candidates of their
budget. A draw depends on the seed and on the losses before it, so a killed run is repeated from the
start and takes every loss that the trainer remembers: it ends where it would have ended. The name
of a loss is the widths and the network, so those of another network are never taken.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev
from typing import ClassVar, Literal

import optuna
import torch
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from torch import Tensor, nn

from bench.contract import Budget, Kept, Pruned, Recipe, TraceStep, Trainer, Widths
from bench.errors import ConfigError
from bench.method_bases import StagedMethod
from bench.plugins.registry import method
from bench.surgery.analysis import NetworkAnalysis, analyze_network
from bench.surgery.importance import Scores, channel_norms
from bench.surgery.least_squares import Outputs, layer_outputs, update_weights
from bench.surgery.remove import remove_channels
from bench.surgery.width_search import global_ranking_widths

LEAST_RATIO = 0.1
LEAST_SQUARES_CROPS = 16
Ratios = Mapping[str, float]  # unit -> r_u


@dataclass(frozen=True)
class Unpruned:
    """What all candidates of all budgets share.

    Args:
        model: the unpruned network. body: its anatomy.
        scores: unit -> (C,), the order in which channels go.
        crops, outputs: degraded crops (N, C, H, W), and what every layer makes of them; without
            `update` none.
        fingerprint: changes with anything that changes the loss of a candidate.
    """

    model: nn.Module
    body: NetworkAnalysis
    scores: Scores
    crops: Tensor
    outputs: Outputs
    fingerprint: str


@method("random_search")
@dataclass(frozen=True)
class RandomSearch(StagedMethod[Unpruned]):
    """The best of many random networks.

    Args:
        samples: candidates for each budget.
        sampler: who draws the ratios: "random", or one that learns from the candidates before.
        criterion: the norm by which channels of a unit go.
        update: fit the weights of every candidate to the unpruned outputs by least squares.
        finish: "finetune", or "scratch": new weights and the whole schedule for the widths that
            were found.
    """

    paper: ClassVar[str] = (
        "Li et al., Revisiting Random Channel Pruning for Neural Network Compression, CVPR 2022"
    )
    samples: int = 100
    sampler: Literal["random", "tpe", "nsga2"] = "random"
    criterion: Literal["l1", "l2"] = "l1"
    update: bool = False
    finish: Literal["finetune", "scratch"] = "finetune"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"random_search: samples = {self.samples} must be at least 1")

    def expected_steps(self, recipe: Recipe) -> int:
        """From scratch, the pretraining again."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.finish == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Unpruned:
        """Norms, and where weights are updated the outputs of all layers."""
        body, crops = (
            analyze_network(model, budget),
            torch.cat([degraded for degraded, _ in trainer.calibration]),
        )
        outputs: Outputs = {}
        if self.update:
            with trainer.count_calls(model):
                outputs = layer_outputs(model, crops[:LEAST_SQUARES_CROPS])
        scores = channel_norms(model, body.layout, 1 if self.criterion == "l1" else 2)
        return Unpruned(
            model,
            body,
            scores,
            crops[:LEAST_SQUARES_CROPS],
            outputs,
            _fingerprint(model, crops, self.criterion, self.update),
        )

    def cut(self, prepared: Unpruned, budget: Budget, trainer: Trainer) -> Pruned:
        """The candidate with the least loss. Raises Infeasible if the least widths do not fit."""
        body, min_width = prepared.body, trainer.recipe.min_width
        body.peaks.check(budget, min_width)
        study = self._search(prepared, budget, trainer)
        losses = [float(trial.values[0]) for trial in study.trials]
        best = study.trials[losses.index(min(losses))]
        widths = fitted(best.params, body, budget, min_width)
        kept = body.keep(prepared.scores, widths)
        note = f"best of {len(losses)}: loss {min(losses):.4g}; all {fmean(losses):.4g} +- {pstdev(losses):.4g}"
        smaller = self._network(prepared, kept, budget, trainer)
        return Pruned(
            smaller,
            self.finish,
            kept,
            trace=(TraceStep(body.peaks.peak_bytes(widths), widths, note),),
        )

    def _search(self, unpruned: Unpruned, budget: Budget, trainer: Trainer) -> optuna.Study:
        """A study in memory with all candidates."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        body, min_width = unpruned.body, trainer.recipe.min_width
        study, known = optuna.create_study(sampler=self._sampler(trainer.seed)), dict[str, float]()
        for _ in range(self.samples):
            trial = study.ask({unit: FloatDistribution(LEAST_RATIO, 1.0) for unit in body.widths})
            widths = fitted(trial.params, body, budget, min_width)
            trial.set_constraint("excess_bytes", body.peaks.peak_bytes(widths) - budget.peak_bytes)
            name = f"{unpruned.fingerprint} {widths}"
            if name not in known:  # NSGA-II also repeats itself
                known[name] = trainer.remember(
                    name, partial(self._judged, unpruned, widths, budget, trainer)
                )
            study.tell(trial, known[name])
        return study

    def _judged(
        self, unpruned: Unpruned, widths: Widths, budget: Budget, trainer: Trainer
    ) -> float:
        """The loss of a candidate."""
        return trainer.loss(
            self._network(unpruned, unpruned.body.keep(unpruned.scores, widths), budget, trainer)
        )

    def _network(
        self, unpruned: Unpruned, kept: Kept, budget: Budget, trainer: Trainer
    ) -> nn.Module:
        """A candidate before training."""
        smaller = remove_channels(unpruned.model, kept, budget.input_shape, unpruned.body.layout)
        if self.update:
            with trainer.count_calls(smaller):
                update_weights(
                    smaller, kept, unpruned.body.layout, unpruned.outputs, unpruned.crops
                )
        return smaller

    def _sampler(self, seed: int) -> BaseSampler:
        """TPE learns after a tenth of the samples, NSGA-II in five generations (its own 50 a generation would leave it two)."""
        if self.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=-(-self.samples // 10))
        if self.sampler == "nsga2":
            return NSGAIISampler(seed=seed, population_size=max(2, self.samples // 5))
        return RandomSampler(seed=seed)


def fitted(ratios: Ratios, body: NetworkAnalysis, budget: Budget, min_width: int) -> dict[str, int]:
    """w(a) with the largest a that fits. Raises Infeasible if the least widths do not."""
    entrances = {
        unit: (torch.arange(full, dtype=torch.float64) + 0.5) / (ratios[unit] * full)
        for unit, full in body.widths.items()
    }
    return global_ranking_widths(
        {unit: -entrance for unit, entrance in entrances.items()}, body, budget, min_width
    )


def _fingerprint(model: nn.Module, crops: Tensor, *options: object) -> str:
    """A hash of weights, crops and options."""
    found = hashlib.sha256(repr(options).encode())
    for tensor in (*model.state_dict().values(), crops):
        found.update(
            tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        )
    return found.hexdigest()[:12]
