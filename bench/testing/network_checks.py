"""Checks of the networks that a sweep yields."""

from typing import Any, get_args

from torch import nn

from bench.contract import Budget, Finish, Pruned, TraceStep
from bench.errors import PluginError
from bench.memory.peak_model import peak_model
from bench.runner.plain_network import check_same_network, count_stored
from bench.runner.referee import check_output, check_peak, check_plain
from bench.testing.check_runner import CheckFailed, require
from bench.testing.class_checks import options_are_typed
from bench.testing.fixtures import SHAPE
from bench.testing.method_runs import MethodEvidence


def require_networks(evidence: MethodEvidence) -> dict[Budget, Pruned]:
    """Return budget -> result of the sweep. Raises CheckSkipped if there is no network."""
    require(options_are_typed, evidence)
    return evidence.networks


def gives_back_a_plain_network(evidence: MethodEvidence) -> None:
    """No hook and no parametrisation is left on the network."""
    for pruned in require_networks(evidence).values():
        apply_rule(check_plain, pruned.model, evidence.name)


def keeps_the_shape_of_the_output(evidence: MethodEvidence) -> None:
    """The output has the same shape as that of the unpruned network."""
    for budget, pruned in require_networks(evidence).items():
        apply_rule(check_output, pruned.model, evidence.network, budget, evidence.name)


def fits_the_budget(evidence: MethodEvidence) -> None:
    """The peak that the referee measures is at most the budget."""
    for budget, pruned in require_networks(evidence).items():
        apply_rule(check_peak, pruned.model, budget, evidence.name)


def names_what_it_kept(evidence: MethodEvidence) -> None:
    """`kept` lists the remaining channels, sorted, and every unit has as many as `kept` says."""
    for pruned in require_networks(evidence).values():
        before = peak_model(evidence.insert_compactors(pruned), SHAPE).widths
        after = peak_model(pruned.model, SHAPE).widths
        for unit, indices in pruned.kept.items():
            if unit not in before:
                raise CheckFailed(
                    f"kept names '{unit}', which is no unit of the network; "
                    f"its units are {', '.join(before)}"
                )
            is_sorted = list(indices) == sorted(set(indices))
            if not is_sorted or not set(indices) <= set(range(before[unit])):
                raise CheckFailed(
                    f"kept['{unit}'] is {list(indices)}; give sorted indices below {before[unit]}, "
                    "in the unpruned numbering"
                )
        expected = before | {unit: len(indices) for unit, indices in pruned.kept.items()}
        for unit, width in expected.items():
            if after.get(unit) != width:
                raise CheckFailed(
                    f"by kept, '{unit}' has {width} channels, and in the network it has "
                    f"{after.get(unit)}; kept must say what was removed"
                )


def is_really_smaller(evidence: MethodEvidence) -> None:
    """The network has fewer parameters: channels are removed, not masked."""
    for budget, pruned in require_networks(evidence).items():
        before = _count_parameters(evidence.insert_compactors(pruned))
        after = _count_parameters(pruned.model)
        if after >= before:
            raise CheckFailed(
                f"at {budget.peak_bytes} bytes it has {after} parameters of {before}; "
                "remove channels with prunebench.remove_channels"
            )


def survives_save_and_load(evidence: MethodEvidence) -> None:
    """Rebuilt from `inserted`, `kept` and its weights, the network computes the same output."""
    for check in (names_what_it_kept, is_really_smaller, keeps_the_shape_of_the_output):
        require(check, evidence)
    for pruned in require_networks(evidence).values():
        rebuilt = evidence.rebuild(pruned)
        weights = pruned.model.state_dict()
        expected = {name: tuple(weight.shape) for name, weight in rebuilt.state_dict().items()}
        for name in [*expected, *weights]:
            shape = tuple(weights[name].shape) if name in weights else None
            if expected.get(name) != shape:
                raise CheckFailed(
                    f"rebuilt from inserted and kept, {name} has shape {expected.get(name)}; "
                    f"in the network it has {shape}"
                )
        rebuilt.load_state_dict(weights)
        apply_rule(check_same_network, pruned.model, rebuilt, evidence.probes)


def counts_what_it_stores(evidence: MethodEvidence) -> None:
    """`stored_parameters` is what must be stored, a network or a state dict; or it is left out."""
    require(fits_the_budget, evidence)
    for pruned in require_networks(evidence).values():
        apply_rule(count_stored, pruned, _count_parameters(pruned.model))


def asks_for_a_known_finish(evidence: MethodEvidence) -> None:
    """`finish` is one of the values that the harness knows."""
    for pruned in require_networks(evidence).values():
        if pruned.finish not in get_args(Finish):
            raise CheckFailed(
                f"finish is {pruned.finish!r}; ask for one of {', '.join(get_args(Finish))}"
            )


def keeps_a_true_trace(evidence: MethodEvidence) -> None:
    """Every step of `trace` names units of the network and the peak at the widths of the step."""
    require(names_what_it_kept, evidence)
    for budget, pruned in require_networks(evidence).items():
        models = [
            peak_model(model, SHAPE, budget.convention)
            for model in (evidence.insert_compactors(pruned), evidence.network)
        ]
        units = models[0].widths
        for number, step in enumerate(pruned.trace, 1):
            if not isinstance(step, TraceStep):
                raise CheckFailed(
                    f"step {number} of trace is a {type(step).__name__}; "
                    "write TraceStep(peak_bytes, widths, note)"
                )
            if unknown := set(step.widths) - set(units):
                raise CheckFailed(
                    f"step {number} of trace names {', '.join(sorted(unknown))}; "
                    f"the units are {', '.join(units)}"
                )
            peaks = {model.peak_bytes(step.widths) for model in models}
            if step.peak_bytes not in peaks:
                raise CheckFailed(
                    f"step {number} of trace says {step.peak_bytes} bytes; "
                    f"at its widths the peak is {min(peaks)} bytes"
                )


def apply_rule(rule: Any, *arguments: Any) -> None:
    """Apply a rule of the referee; raise CheckFailed with its message if it refuses."""
    try:
        rule(*arguments)
    except PluginError as error:
        raise CheckFailed(str(error)) from error


def _count_parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
