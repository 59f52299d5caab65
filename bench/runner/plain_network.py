"""What is scored is what is stored: only networks that can be rebuilt are used.

A method hands over a network; the harness rebuilds it from the unpruned one, by inserting the named
compactors, removing all channels that are not kept, and loading the weights. From then on only the
rebuilt network is used: measured, trained, saved. What was saved is loaded again before it is
tested. A forward function, a slope of an activation or a buffer that is not stored cannot reach the
table.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.channels.bottleneck import find_bottleneck
from bench.channels.units import channel_layout
from bench.contract import Budget, Convention, Inputs, Pruned, Task
from bench.errors import PluginError
from bench.export import saved
from bench.graph.lowering import trace
from bench.memory.profile import OWN_CONVENTIONS, graph_timeline, peak_memory
from bench.runner.method_call import stored_tensors
from bench.runner.referee import check_multiples, check_output, check_plain, example_inputs, referee
from bench.runtimes.registry import PLANNERS, describe_protocol_of
from bench.torch_state import eval_mode, to_channels_last
from bench.units import as_shapes, format_shape

REBUILT = "rebuilt from its kept channels, compactors and weights"
TOLERANCE = 1e-4  # relative to the largest output value: other kernels sum in another order


def make_probes(task: Task, crops: Tensor) -> list[Tensor]:
    """Return inputs at two sizes, photographs and random ones, on which networks are compared.

    Args:
        task: that the networks are for.
        crops: degraded crops (N, C, H, W) of photographs; the first is used.
    """
    photographs = example_inputs(task, crops[:1].cpu())
    generator = Generator().manual_seed(0)
    return [
        *photographs,
        *(torch.rand(probe.shape, generator=generator) for probe in photographs),
    ]


def rebuild_plain(pruned: Pruned, unpruned: nn.Module, probes: Sequence[Tensor]) -> nn.Module:
    """Return the network that the kept channels, compactors and weights of a result describe.

    Args:
        pruned: the result of a method, after `detach_result`.
        unpruned: the network that it was made from, on the CPU.
        probes: inputs that both networks take.

    Raises:
        PluginError: its names or shapes are others than those of the network that the method gave
            back, or its output.
    """
    given = pruned.model
    shape = as_shapes(probes[0].shape)[0]
    rebuilt = saved.rebuild(given, unpruned, pruned.kept, pruned.inserted, shape)
    trainable = {name: weight.requires_grad for name, weight in given.named_parameters()}
    for name, weight in rebuilt.named_parameters():
        weight.requires_grad_(trainable.get(name, True))
    check_same_network(given, rebuilt, probes)
    return rebuilt


def check_same_network(network: nn.Module, rebuilt: nn.Module, probes: Sequence[Tensor]) -> None:
    """Raise PluginError unless a network has the layers and the outputs of the one that is rebuilt.

    Both are moved to the CPU; the probes are (N, C, H, W).
    """
    if difference := _find_altered(network, rebuilt):
        raise PluginError(
            f"the network is not what is stored: {REBUILT}, {difference}; give back a plain network"
        )
    check_same_output(network, rebuilt, probes)


def check_same_output(network: nn.Module, rebuilt: nn.Module, probes: Sequence[Tensor]) -> None:
    """Raise PluginError unless two networks, which are moved to the CPU, give the same outputs."""
    networks = [to_channels_last(model, "cpu") for model in (network, rebuilt)]
    for probe in probes:
        found, expected = (_restore(model, probe) for model in networks)
        tolerance = TOLERANCE * float(expected.abs().max().nan_to_num())
        if found.shape != expected.shape or not torch.allclose(
            found, expected, rtol=0, atol=tolerance, equal_nan=True
        ):
            raise PluginError(
                f"the network is not what is stored: {REBUILT}, it computes something else at "
                f"{format_shape(probe.shape)}; give back a plain network"
            )


def _restore(model: nn.Module, probe: Tensor) -> Tensor:
    with eval_mode(model), torch.inference_mode():
        output: Tensor = model(probe.clone())  # which a network may overwrite
    return output


def _find_altered(network: nn.Module, rebuilt: nn.Module) -> str:
    """Return the first difference of two networks beside their weights, in words; else ""."""
    layers = dict(rebuilt.named_modules())
    for path, layer in network.named_modules():
        described = [_describe_layer(each) for each in (layers.get(path), layer)]
        if described[0] != described[1]:
            return f"'{path}' is {described[0]}, not {described[1]}"
        if (
            _has_other_class(layer, layers[path])
            or "forward" in vars(layer)
            or "__call__" in vars(layer)
        ):
            return f"'{path or type(layer).__name__}' has no forward function of its own"
    buffers = [{name: b.shape for name, b in each.named_buffers()} for each in (rebuilt, network)]
    extra = sorted(buffers[1].items() - buffers[0].items())
    return f"it has no buffer {extra[0][0]} of shape {tuple(extra[0][1])}" if extra else ""


def _has_other_class(layer: nn.Module, expected: nn.Module) -> bool:
    """Return whether two layers have different classes, whatever their names.

    torch.fx makes a class for each network that it writes.
    """
    is_generated = type(expected).__module__.startswith("torch.fx.")
    return type(layer) is not type(expected) and not is_generated


def _describe_layer(layer: nn.Module | None) -> str:
    return "nothing" if layer is None else f"{type(layer).__name__}({layer.extra_repr()})"


def measure_pruned_network(
    pruned: Pruned,
    unpruned: nn.Module,
    budget: Budget,
    probes: Sequence[Tensor],
    *,
    method: str,
    min_width: int,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the rebuilt network and the referee's measurements of it as fields of the Record.

    Args:
        pruned: what the method gave back, after `detach_result`.
        unpruned: the network that it was made from, on the CPU.
        budget: the budget that was asked for.
        probes: inputs on which the rebuilt network is compared with the given one.
        method: name for messages.
        min_width: the width at which a unit counts as being at the floor.

    Raises:
        PluginError: the network is refused.
    """
    check_plain(pruned.model, method)
    # A copy: a network may change its weights when it is called, now that no one watches.
    check_output(deepcopy(pruned.model), unpruned, budget, method)
    model = rebuild_plain(pruned, unpruned, probes)
    check_multiples(pruned, model, budget)
    graph = trace(model, budget.input_shape)
    planned, eager = referee(model, unpruned, budget, method, graph)
    layout = channel_layout(graph)
    widths = layout.widths
    bottleneck = find_bottleneck(graph, layout)
    floor = max(min_width, budget.channel_multiple)
    return model, {
        "budget_bytes": budget.peak_bytes,
        "peak_bytes": planned.peak_bytes,
        "peak_bytes_eager": eager.peak_bytes,
        "measured": _runtime_peak(model, budget),
        "peak_step": planned.peak_step,
        "timeline": tuple(vars(step) for step in planned.timeline),
        "parameters": planned.parameters,
        "parameters_stored": count_stored(pruned, planned.parameters),
        "macs": planned.macs,
        "widths": dict(widths),
        "bottleneck": bottleneck.units if bottleneck else (),
        "bottleneck_channels": bottleneck.channels if bottleneck else None,
        "units_at_floor": sum(width <= floor for width in widths.values()),
    }


def _runtime_peak(model: nn.Module, budget: Budget) -> dict[str, dict[str, Any]]:
    """Return the peak by the plan of the runtime that is the budget's convention, if one is."""
    runtime = budget.convention
    if runtime not in PLANNERS:
        return {}
    peak_bytes = peak_memory(model, budget.input_shape, runtime)
    return {runtime: {"peak_bytes": peak_bytes, "on": describe_protocol_of(runtime)}}


def budgeted_peak_bytes(fields: Mapping[str, Any], convention: Convention) -> int:
    """Return the peak in the convention of the budget, from the fields of a Record."""
    if convention in PLANNERS:
        return int(fields["measured"][convention]["peak_bytes"])
    return int(fields["peak_bytes_eager" if convention == "eager" else "peak_bytes"])


def count_stored(pruned: Pruned, executed: int) -> int:
    """Count the parameters that must be stored; at least those that are executed."""
    tensors = stored_tensors(pruned.stored_parameters).values()
    return max(executed, sum(tensor.numel() for tensor in tensors))


def check_stored(
    model: nn.Module,
    stored: nn.Module,
    fields: Mapping[str, Any],
    shape: Inputs,
    probes: Sequence[Tensor],
) -> None:
    """Raise PluginError unless a network that was loaded is the one that was saved.

    Args:
        model: the network that was saved; moved to the CPU.
        stored: the network that was loaded.
        fields: the measurements of `measure_pruned_network`.
        shape: the input at which they were made.
        probes: inputs on which the outputs are compared.
    """
    check_same_output(model, stored, probes)
    parameters = sum(weight.numel() for weight in stored.parameters())
    graph = trace(stored, shape)
    planned, eager = (
        max(step.bytes for step in graph_timeline(graph, name)) for name in OWN_CONVENTIONS
    )
    found = (planned, eager, parameters)
    expected = tuple(fields[name] for name in ("peak_bytes", "peak_bytes_eager", "parameters"))
    if found != expected:
        raise PluginError(
            "the network is not what is stored: (planned peak, eager peak, parameters) are "
            f"{expected}, those of its folder {found}; give back a plain network"
        )
