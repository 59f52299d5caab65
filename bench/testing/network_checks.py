"""Checks of the networks that a sweep gave."""

from typing import Any, get_args

import torch
from torch import nn

from bench.contract import Budget, Finish, Pruned, TraceStep
from bench.errors import PluginError
from bench.memory.peak_model import peak_model
from bench.runner.referee import check_output, check_peak, check_plain
from bench.testing.check_runner import Broken, needs
from bench.testing.class_checks import options_are_typed
from bench.testing.fixtures import SHAPE
from bench.testing.method_runs import Evidence

SAME = 1e-5  # of the largest value of an output: float32 sums in another order


def networks(evidence: Evidence) -> dict[Budget, Pruned]:
    """Budget -> what the sweep gave for it. Raises Skipped if there is nothing."""
    needs(options_are_typed, evidence)
    return evidence.networks


def gives_back_a_plain_network(evidence: Evidence) -> None:
    """No hook and no parametrisation is left on the network."""
    for pruned in networks(evidence).values():
        refereed(check_plain, pruned.model, evidence.name)


def keeps_the_shape_of_the_output(evidence: Evidence) -> None:
    """The output has the shape of the unpruned network's."""
    for budget, pruned in networks(evidence).items():
        refereed(check_output, pruned.model, evidence.network, budget, evidence.name)


def fits_the_budget(evidence: Evidence) -> None:
    """The peak that the referee measures is at most the budget."""
    for budget, pruned in networks(evidence).items():
        refereed(check_peak, pruned.model, budget, evidence.name)


def names_what_it_kept(evidence: Evidence) -> None:
    """`kept` lists the channels that stay, sorted, and every unit is as wide as it says."""
    for pruned in networks(evidence).values():
        before, after = (
            peak_model(model, SHAPE).widths for model in (evidence.compacted(pruned), pruned.model)
        )
        for unit, indices in pruned.kept.items():
            if unit not in before:
                raise Broken(
                    f"kept names '{unit}', which is no unit of the network; its units are {', '.join(before)}"
                )
            if list(indices) != sorted(set(indices)) or not set(indices) <= set(
                range(before[unit])
            ):
                raise Broken(
                    f"kept['{unit}'] is {list(indices)}; give sorted indices below {before[unit]}, in the unpruned numbering"
                )
        named = before | {unit: len(indices) for unit, indices in pruned.kept.items()}
        wrong = {
            unit: (width, after.get(unit))
            for unit, width in named.items()
            if after.get(unit) != width
        }
        for unit, (width, found) in wrong.items():
            raise Broken(
                f"by kept, '{unit}' has {width} channels, and in the network it has {found}; kept must say what was removed"
            )


def is_really_smaller(evidence: Evidence) -> None:
    """Channels are gone, not masked: there are fewer parameters."""
    for budget, pruned in networks(evidence).items():
        full, left = (_parameters(model) for model in (evidence.compacted(pruned), pruned.model))
        if left >= full:
            raise Broken(
                f"at {budget.peak_bytes} bytes it has {left} parameters of {full}; remove channels, bench.surgery.remove does it"
            )


def survives_save_and_load(evidence: Evidence) -> None:
    """Rebuilt from `inserted`, `kept` and its weights, the network computes the same."""
    for other in (names_what_it_kept, is_really_smaller, keeps_the_shape_of_the_output):
        needs(other, evidence)
    probe = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2))
    for pruned in networks(evidence).values():
        rebuilt, weights = evidence.rebuilt(pruned), pruned.model.state_dict()
        wanted = {name: tuple(weight.shape) for name, weight in rebuilt.state_dict().items()}
        for name in [*wanted, *weights]:
            found = tuple(weights[name].shape) if name in weights else None
            if wanted.get(name) != found:
                raise Broken(
                    f"rebuilt from inserted and kept, {name} has shape {wanted.get(name)}; in the network it has {found}"
                )
        rebuilt.load_state_dict(weights)
        with torch.inference_mode():
            one, other = (model.eval()(probe) for model in (pruned.model, rebuilt))
        if not torch.allclose(one, other, rtol=0, atol=SAME * float(one.abs().max())):
            raise Broken(
                f"rebuilt from inserted, kept and its weights, its output is off by {float((one - other).abs().max()):.2g}"
            )


def asks_for_a_known_finish(evidence: Evidence) -> None:
    """`finish` is a word that the harness knows."""
    for pruned in networks(evidence).values():
        if pruned.finish not in get_args(Finish):
            raise Broken(
                f"finish is {pruned.finish!r}; ask for one of {', '.join(get_args(Finish))}"
            )


def keeps_a_true_diary(evidence: Evidence) -> None:
    """Every line of `trace` names units of the network, and the peak that they have at these widths."""
    needs(names_what_it_kept, evidence)
    for budget, pruned in networks(evidence).items():
        peaks = [
            peak_model(model, SHAPE, budget.convention)
            for model in (evidence.compacted(pruned), evidence.network)
        ]
        for number, step in enumerate(pruned.trace, 1):
            if not isinstance(step, TraceStep):
                raise Broken(
                    f"line {number} of trace is a {type(step).__name__}; write Step(peak_bytes, widths, note)"
                )
            unknown = set(step.widths) - set(peaks[0].widths)
            if unknown:
                raise Broken(
                    f"line {number} of trace names {', '.join(sorted(unknown))}; the units are {', '.join(peaks[0].widths)}"
                )
            if step.peak_bytes not in (true := {each.peak_bytes(step.widths) for each in peaks}):
                raise Broken(
                    f"line {number} of trace says {step.peak_bytes} bytes; at its widths the peak is {min(true)} bytes"
                )


def refereed(rule: Any, *given: Any) -> None:
    """Raises Broken with what the referee says, if it refuses."""
    try:
        rule(*given)
    except PluginError as error:
        raise Broken(str(error)) from error


def _parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
