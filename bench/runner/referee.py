"""The referee: checks that a pruned network may enter the table and that a network can be pruned.

What a method gives back must be a plain network, without hooks or parametrisations; its output has
the shape of the unpruned one's; its peak fits the budget. All numbers are measured here, on the
network itself. A network that is to be pruned must be plain too, give what its task wants, and be
trainable.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from bench.channels.multiples import block_sizes
from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.contract import Budget, Inputs, Pruned, Task
from bench.errors import ConfigError, PluginError
from bench.graph.ir import Graph
from bench.graph.lowering import trace
from bench.graph.meta_run import copy_to_meta, meta_inputs
from bench.graph.source_location import first_line
from bench.graph.tracing import trace_module
from bench.graph.tracing_at_shape import TOLERANCES
from bench.memory.profile import OWN_CONVENTIONS, peak_memory, profiles
from bench.memory.timeline import MemoryProfile
from bench.torch_state import eval_mode
from bench.training.evaluation import photograph_shapes
from bench.units import as_shapes, format_mib, format_shape

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def referee(
    model: nn.Module, unpruned: nn.Module, budget: Budget, method: str, graph: Graph | None = None
) -> tuple[MemoryProfile, MemoryProfile]:
    """Check a pruned network and return its profiles (planned, eager).

    Args:
        model: the pruned network.
        unpruned: the network that it was made from.
        budget: the budget that was asked for.
        method: name for messages.
        graph: of the pruned network at the budget's input, if it is known already.

    Raises:
        PluginError: it has hooks or parametrisations, another output shape, or a peak above the
            budget.
    """
    check_plain(model, method)
    check_output(model, unpruned, budget, method)
    return check_peak(model, budget, method, graph)


def check_plain(model: nn.Module, method: str) -> None:
    """Raise PluginError if a network has hooks or parametrisations."""
    if path := _find_altered_layer(model):
        raise PluginError(
            f"{method} left a hook or a parametrisation on '{path}'; give back a plain network"
        )


def check_multiples(pruned: Pruned, model: nn.Module, budget: Budget) -> None:
    """Raise PluginError if a unit that lost channels has no multiple of those asked for.

    Args:
        pruned: the result of a method.
        model: its network, or one with the same widths.
        budget: that it was made for.
    """
    if budget.channel_multiple == 1:
        return
    layout = channel_layout(trace(model, budget.input_shape))
    sizes = block_sizes(layout, budget.channel_multiple)
    for unit, indices in pruned.kept.items():
        if len(indices) % sizes[unit]:
            raise PluginError(
                f"'{unit}' keeps {len(indices)} channels, and the recipe asks for multiples of "
                f"{sizes[unit]}; remove the slots of `analyse_network`, which are blocks"
            )


def check_output(model: nn.Module, unpruned: nn.Module, budget: Budget, method: str) -> None:
    """Raise PluginError if the output has another shape than that of the unpruned network."""
    expected = _output_shape(unpruned, budget)
    found = _output_shape(model, budget)
    if expected != found:
        raise PluginError(
            f"{method} gave back a network with output {found}; the unpruned one gives {expected}"
        )


def check_peak(
    model: nn.Module, budget: Budget, method: str, graph: Graph | None = None
) -> tuple[MemoryProfile, MemoryProfile]:
    """Return the profiles (planned, eager) of a network, whose graph may be known already.

    Raises PluginError if its peak exceeds the budget.
    """
    planned, eager = profiles(model, budget.input_shape, OWN_CONVENTIONS, graph)
    own = {"planned": planned.peak_bytes, "eager": eager.peak_bytes}
    peak_bytes = own.get(budget.convention) or peak_memory(
        model, budget.input_shape, budget.convention
    )
    if peak_bytes > budget.peak_bytes:
        raise PluginError(
            f"{method} missed its budget: the {budget.convention} peak is "
            f"{peak_bytes} bytes ({format_mib(peak_bytes)}) of "
            f"{budget.peak_bytes} ({format_mib(budget.peak_bytes)})"
        )
    return planned, eager


def check_fits(name: str, model: nn.Module, task: Task, degraded: Tensor, clean: Tensor) -> None:
    """Try a user's own network on crops of a task.

    It gets one forward pass, one on a larger input, and one backward pass. Its graph, on which
    memory is counted and surgery is done, must give what the network itself gives.

    Args:
        name: for messages.
        model: on the device of the crops; training changes it, so pass a copy.
        task: the task that it is meant for.
        degraded: crops (N, 3, H, W).
        clean: crops (N, 3, scale H, scale W).

    Raises:
        ConfigError: it has hooks or parametrisations, refuses an input, gives another output,
            cannot be traced or is traced to something else, reads inputs without a name, or
            cannot be trained.
    """
    if path := _find_altered_layer(model):
        raise ConfigError(
            f"{name} has a hook or a parametrisation on '{path}', which surgery cannot follow; "
            "remove it where it is built"
        )
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ConfigError(
            f"{name} has no weight that can be trained; set requires_grad to True where it is built"
        )
    scale = clean.shape[-1] // degraded.shape[-1]
    for probe in example_inputs(task, degraded):
        height, width = probe.shape[-2:]
        expected = format_shape((*clean.shape[:2], height * scale, width * scale))
        try:
            found = _describe_output(name, model, probe)
            if found != expected:
                advice = "" if found[0].isdigit() else ", so wrap it in a module that returns that"
                raise ConfigError(
                    f"{name} gives {found} for an input of {format_shape(probe.shape)}; "
                    f"task {task.name} wants {expected}{advice}"
                )
            _check_graph(name, model, probe)
        except ConfigError as error:
            if probe is degraded:
                raise
            raise _advise_padding(error, task) from error
    try:
        task.loss(model.train()(degraded), clean).backward()
    except Exception as error:
        raise ConfigError(
            f"{name} cannot be trained: {type(error).__name__}: {first_line(error)}"
        ) from error


def example_inputs(task: Task, degraded: Tensor) -> tuple[Tensor, Tensor]:
    """Return crops (N, C, H, W) as they are and larger, of the sizes at which a network runs.

    Test photographs may be larger than crops, and not square.
    """
    margin = (0, 2 * task.size_multiple, 0, task.size_multiple)
    return degraded, functional.pad(degraded, margin, mode="replicate")


def write_out_for_task(
    model: nn.Module, shape: Inputs, task: Task, data: str, degraded: Tensor
) -> nn.Module:
    """Write a network out (`bench.channels.written_form`), tried at all sizes of a task.

    Args:
        model: on the CPU.
        shape: at which memory is counted.
        task: that it will be trained on.
        data: where its photographs are.
        degraded: crops (N, C, H, W).

    Raises:
        ConfigError: as `write_out`.
    """
    examples, shapes = example_inputs(task, degraded), photograph_shapes(task, data)
    try:
        return write_out(model, shape, examples, shapes)
    except ConfigError as error:
        raise _advise_padding(error, task) from error


def _advise_padding(error: ConfigError, task: Task) -> ConfigError:
    """Return the error about a size of a network's input, with what may help at this task."""
    if not hasattr(task, "pad_to_multiple"):
        return error
    return ConfigError(
        f"{error}; if it needs sizes of a certain multiple, set pad_to_multiple of the task "
        "and patch of the recipe to one"
    )


def _check_graph(name: str, model: nn.Module, probe: Tensor) -> None:
    """Raise ConfigError if the traced graph of a network gives another output than the network."""
    with eval_mode(model), torch.inference_mode():
        output = model(probe.clone())  # which a network may overwrite
        graph = trace_module(write_out(model, (*probe.shape,)))
        traced = graph(probe.clone())
    if not torch.allclose(output, traced, *TOLERANCES):
        difference = float((output - traced).abs().max())
        raise ConfigError(
            f"{name} is traced to another function: at {format_shape(probe.shape)} the outputs "
            f"differ by up to {difference:.2g}; write its forward so that what it computes depends "
            "neither on the values nor on the size of its input"
        )


def _describe_output(name: str, model: nn.Module, probe: Tensor) -> str:
    """Return the shape of the output, or its type if it is no tensor.

    Raises ConfigError if the network refuses the input.
    """
    try:
        with eval_mode(model), torch.inference_mode():
            output = model(probe.clone())  # which a network may overwrite
    except Exception as error:
        shape = format_shape(probe.shape)
        raise ConfigError(
            f"{name} raises {type(error).__name__} for an input of {shape}: {first_line(error)}"
        ) from error
    if isinstance(output, Tensor):
        return format_shape(output.shape)
    return f"a {type(output).__name__}"


def _find_altered_layer(model: nn.Module) -> str:
    """Return the path of the first layer with a hook or a parametrisation; "" if there is none."""
    for path, module in model.named_modules():
        if any(getattr(module, kind) for kind in HOOKS) or parametrize.is_parametrized(module):
            return path or type(model).__name__
    return ""


def _output_shape(model: nn.Module, budget: Budget) -> tuple[int, ...]:
    shadow = copy_to_meta(model)
    with torch.no_grad(), torch.device("meta"):
        return tuple(shadow(*meta_inputs(shadow, as_shapes(budget.input_shape))).shape)
