"""The referee: whether what a method gave back may enter the table, and whether a network of the user's own may be pruned at all.

What comes back is a plain network, without hooks or parametrisations; its output has the shape of
the unpruned one's; its peak fits the budget. All figures are measured here, on the network itself.
What goes in is plain too, gives what its task wants, and can be trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from bench.contract import Budget, Task
from bench.errors import ConfigError, PluginError
from bench.graph.source_location import first_line
from bench.memory.profile import MemoryProfile, profile
from bench.torch_state import evaluating
from bench.units import format_mib, format_shape, shapes_of

PROBE_PIXELS = 64
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def referee(
    model: nn.Module, unpruned: nn.Module, budget: Budget, method: str
) -> tuple[MemoryProfile, MemoryProfile]:
    """The profiles (planned, eager) of what a method gave back.

    Args:
        model: what came back.
        unpruned: what it was made from.
        budget: what was asked.
        method: named in messages.

    Raises:
        PluginError: it has hooks or parametrisations, another output shape, or a peak above the
            budget.
    """
    check_plain(model, method)
    check_output(model, unpruned, budget, method)
    return check_peak(model, budget, method)


def check_plain(model: nn.Module, method: str) -> None:
    """Raises PluginError if a network has hooks or parametrisations."""
    if path := _not_plain(model):
        raise PluginError(
            f"{method} left a hook or a parametrisation on '{path}'; give back a plain network"
        )


def check_output(model: nn.Module, unpruned: nn.Module, budget: Budget, method: str) -> None:
    """Raises PluginError if the output has another shape than that of the unpruned network."""
    wanted, found = _output_shape(unpruned, budget), _output_shape(model, budget)
    if wanted != found:
        raise PluginError(
            f"{method} gave back a network with output {found}; the unpruned one gives {wanted}"
        )


def check_peak(
    model: nn.Module, budget: Budget, method: str
) -> tuple[MemoryProfile, MemoryProfile]:
    """The profiles (planned, eager) of a network.

    Raises PluginError if its peak exceeds the budget.
    """
    planned, eager = (
        profile(model, budget.input_shape, convention) for convention in ("planned", "eager")
    )
    peak_bytes = (planned if budget.convention == "planned" else eager).peak_bytes
    if peak_bytes > budget.peak_bytes:
        excess = f"{peak_bytes} bytes ({format_mib(peak_bytes)}) of {budget.peak_bytes} ({format_mib(budget.peak_bytes)})"
        raise PluginError(f"{method} missed its budget: the {budget.convention} peak is {excess}")
    return planned, eager


def check_fits(name: str, model: nn.Module, task: Task, degraded: Tensor, clean: Tensor) -> None:
    """Tries a network of the user's own on crops of a task: in one forward pass, on a larger input, and in one backward pass.

    Args:
        name: in messages.
        model: on the device of the crops; changed where training changes it, so give a copy.
        task: what it is to be good for.
        degraded, clean: crops (N, 3, H, W) and (N, 3, scale H, scale W).

    Raises:
        ConfigError: it has hooks or parametrisations, refuses an input, gives another output, or
            cannot be trained.
    """
    if path := _not_plain(model):
        raise ConfigError(
            f"{name} has a hook or a parametrisation on '{path}', which surgery cannot follow; remove it where it is built"
        )
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ConfigError(
            f"{name} has no weight that can be trained; set requires_grad to True where it is built"
        )
    scale = clean.shape[-1] // degraded.shape[-1]
    larger = functional.pad(
        degraded, (0, 2 * task.size_multiple, 0, task.size_multiple), mode="replicate"
    )  # as test photographs may be
    for probe in (degraded, larger):
        wanted = format_shape((*clean.shape[:2], probe.shape[-2] * scale, probe.shape[-1] * scale))
        found = _answer(name, model, probe)
        if found != wanted:
            raise ConfigError(
                f"{name} gives {found} for an input of {format_shape(probe.shape)}; task {task.name} wants {wanted}"
            )
    try:
        task.loss(model.train()(degraded), clean).backward()
    except Exception as error:
        raise ConfigError(
            f"{name} cannot be trained: {type(error).__name__}: {first_line(error)}"
        ) from error


def _answer(name: str, model: nn.Module, probe: Tensor) -> str:
    """The shape of the output; what it is, where it is no tensor.

    Raises ConfigError if there is none.
    """
    try:
        with evaluating(model), torch.inference_mode():
            answer = model(probe)
    except Exception as error:
        given = format_shape(probe.shape)
        raise ConfigError(
            f"{name} raises {type(error).__name__} for an input of {given}: {first_line(error)}"
        ) from error
    return (
        format_shape(answer.shape) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
    )


def _not_plain(model: nn.Module) -> str:
    """The first layer with a hook or a parametrisation; "" for a plain network."""
    for path, module in model.named_modules():
        if any(getattr(module, kind) for kind in HOOKS) or parametrize.is_parametrized(module):
            return path or type(model).__name__
    return ""


def _output_shape(model: nn.Module, budget: Budget) -> tuple[int, ...]:
    first = next(model.parameters())
    probes = [
        first.new_zeros(1, channels, PROBE_PIXELS, PROBE_PIXELS)
        for _, channels, _, _ in shapes_of(budget.input_shape)
    ]
    with evaluating(model), torch.inference_mode():
        return tuple(model(*probes).shape)
