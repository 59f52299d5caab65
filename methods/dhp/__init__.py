"""DHP: differentiable pruning by hypernetworks (Li et al., DHP, ECCV 2020).

    weights from a hypernetwork with one latent a channel (hypernetwork.py), trained from scratch
    after each step, for every latent of a unit:   z <- sign(z) max(|z| - lambda lr, 0)         (proximal step)
    keep the channels with the largest |z|, generate their weights once, fine-tune the plain network

A unit stops shrinking once no more than `least_width` of its latents reach `threshold`. The paper stops its search when the resource
comes near the target; here it lasts as long as pretraining, so that one search serves every budget, and lambda = shrinkage / sum of the
learning rates: the proximal steps together shorten a latent by `shrinkage`, whatever their number. The paper's 0.1 supposes 60,000 steps.

A budget is met by one threshold on |z| over all units (quantum: one channel), which is the paper's rule with the threshold moved. Zeroing
a latent does not remove a channel (B0, B1 and B2 generate on), so channels are removed from the generated weights.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bench.contract import Budget, Phase, Pruned, Recipe, Step, Trainer
from bench.registry import method
from bench.staged import StagedMethod
from bench.surgery.anatomy import Anatomy, anatomy
from bench.surgery.channels import remove
from bench.surgery.families import one_list_widths
from bench.surgery.importance import norms
from methods.dhp.hypernetwork import Hypernetwork


@dataclass(frozen=True)
class Searched:
    """A plain network with its generated weights, its units, and what its latents say of each channel."""

    network: nn.Module
    body: Anatomy
    scores: dict[str, Tensor]
    note: str


@method("dhp")
@dataclass(frozen=True)
class DHP(StagedMethod[Searched]):
    """Channels whose latent shrinks are removed.

    Args:
        shrinkage: by how much the proximal steps of the whole search shorten a latent; latents start with standard deviation 1.
        threshold: below it a latent counts as small.
        least_width: channels that every unit keeps.
        embedding: m, the size of the vector that each weight is made from.
        start: "scratch" (new weights, a search as long as pretraining, as in the paper) or "pretrained" (for short demonstrations: a
            hypernetwork that generates the pretrained weights, with norms as latents, and half of the later training as search).
    """

    paper: ClassVar[str] = "Li et al., DHP: Differentiable Meta Pruning via HyperNetworks, ECCV 2020"
    shrinkage: float = 1.0
    threshold: float = 5e-3
    least_width: int = 4
    embedding: int = 8
    start: Literal["scratch", "pretrained"] = "scratch"

    def expected_steps(self, recipe: Recipe) -> int:
        """From scratch the search lasts as long as pretraining."""
        return recipe.tuning_steps + (recipe.pretrain_steps if self.start == "scratch" else 0)

    def prepare(self, model: nn.Module, budget: Budget, trainer: Trainer) -> Searched:
        """The search."""
        body = anatomy(model, budget)
        hypernetwork = self._hypernetwork(model, body, trainer)
        before = self._small(hypernetwork.latents, body)
        phase: Phase = "pretrain" if self.start == "scratch" else "search"
        steps = trainer.recipe.pretrain_steps if self.start == "scratch" else trainer.recipe.tuning_steps // 2
        shrink = self._proximal_step(hypernetwork.latents, body, sum(trainer.learning_rates(phase, steps)))

        def objective(_: nn.Module, degraded: Tensor, clean: Tensor) -> Tensor:
            return trainer.criterion(hypernetwork.run(model, degraded), clean)

        model.train()
        with trainer.counted(model):
            trainer.fit(hypernetwork, steps, phase=phase, objective=objective, after_step=lambda _, rate: shrink(rate))
        model.eval()
        with torch.no_grad():
            for name, weight in hypernetwork.weights().items():
                model.get_parameter(name).copy_(weight)
        latents = hypernetwork.latents.detach().abs().cpu()
        scores = {unit: latents[body.layout.places(unit)] for unit in body.widths}
        note = f"latents below {self.threshold:g}: {before} before the search, {self._small(hypernetwork.latents, body)} after it"
        return Searched(model, body, scores, note)

    def cut(self, prepared: Searched, budget: Budget, trainer: Trainer) -> Pruned:
        """The largest latents that fit. Raises Infeasible if the least widths do not."""
        floor = max(self.least_width, trainer.recipe.min_width)
        widths = one_list_widths(prepared.scores, prepared.body, budget, floor)
        kept = prepared.body.keep(prepared.scores, widths)
        smaller = remove(prepared.network, kept, budget.input_shape, prepared.body.layout)
        return Pruned(smaller, kept=kept, trace=(Step(prepared.body.peaks.peak_bytes(widths), widths, prepared.note),))

    def _hypernetwork(self, model: nn.Module, body: Anatomy, trainer: Trainer) -> Hypernetwork:
        """As it starts."""
        if self.start == "pretrained":
            relative = [score / score.mean().clamp_min(1e-12) for score in norms(model, body.layout).values()]
            hypernetwork = Hypernetwork(model, body.layout, self.embedding, trainer.seed)
            hypernetwork.reproduce(model, torch.cat(relative))
            return hypernetwork
        trainer.reinitialise(model)
        for layer in body.layout.makes:
            bias = model.get_submodule(layer).bias
            if isinstance(bias, Tensor):
                nn.init.zeros_(bias)
        return Hypernetwork(model, body.layout, self.embedding, trainer.seed)

    def _small(self, latents: Tensor, body: Anatomy) -> str:
        """ "12 of 400"."""
        prunable = latents[: body.layout.size].detach().abs()
        return f"{int((prunable < self.threshold).sum())} of {len(prunable)}"

    def _proximal_step(self, latents: Tensor, body: Anatomy, rates: float) -> "ProximalStep":
        widths = torch.tensor(list(body.widths.values()), device=latents.device)
        least = widths.clamp_max(self.least_width)
        return ProximalStep(latents, widths, least, self.shrinkage / rates, self.threshold)


@dataclass(frozen=True)
class ProximalStep:
    """Shortens latents.

    Args:
        latents: those of all places come first.
        widths, least: int64 (units,), places of each unit, and how many of them stay large.
        strength: lambda.
        threshold: below it a latent counts as small.
    """

    latents: Tensor
    widths: Tensor
    least: Tensor
    strength: float
    threshold: float

    @torch.no_grad()
    def __call__(self, rate: float) -> None:
        """z <- sign(z) max(|z| - lambda lr, 0) in units with more than `least` large latents."""
        places = self.latents[: int(self.widths.sum())]
        owners = torch.repeat_interleave(self.widths)
        large = torch.zeros_like(self.least).index_add_(0, owners, (places.abs() >= self.threshold).to(self.least.dtype))
        shorter = places.sign() * (places.abs() - self.strength * rate).clamp_min(0)
        places.copy_(torch.where((large > self.least)[owners], shorter, places))
