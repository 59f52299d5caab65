"""The referee: whether what a method gave back may enter the table.

It is a plain network, without hooks or parametrisations; its output has the shape of the unpruned one's; its peak fits the budget. All
figures are measured here, on the network itself.
"""

import torch
from torch import nn
from torch.nn.utils import parametrize

from bench.contract import Budget
from bench.errors import PluginError
from bench.memory.profile import MemoryProfile, profile
from bench.modes import evaluating
from bench.units import format_mib, shapes_of

PROBE_PIXELS = 64
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def referee(model: nn.Module, unpruned: nn.Module, budget: Budget, method: str) -> tuple[MemoryProfile, MemoryProfile]:
    """The profiles (planned, eager) of what a method gave back.

    Args:
        model: what came back.
        unpruned: what it was made from.
        budget: what was asked.
        method: named in messages.

    Raises:
        PluginError: it has hooks or parametrisations, another output shape, or a peak above the budget.
    """
    for path, module in model.named_modules():
        if any(getattr(module, kind) for kind in HOOKS) or parametrize.is_parametrized(module):
            raise PluginError(f"{method} left a hook or a parametrisation on '{path or type(model).__name__}'; give back a plain network")
    wanted, found = _output_shape(unpruned, budget), _output_shape(model, budget)
    if wanted != found:
        raise PluginError(f"{method} gave back a network with output {found}; the unpruned one gives {wanted}")
    planned, eager = (profile(model, budget.input_shape, convention) for convention in ("planned", "eager"))
    peak_bytes = (planned if budget.convention == "planned" else eager).peak_bytes
    if peak_bytes > budget.peak_bytes:
        excess = f"{peak_bytes} bytes ({format_mib(peak_bytes)}) of {budget.peak_bytes} ({format_mib(budget.peak_bytes)})"
        raise PluginError(f"{method} missed its budget: the {budget.convention} peak is {excess}")
    return planned, eager


def _output_shape(model: nn.Module, budget: Budget) -> tuple[int, ...]:
    first = next(model.parameters())
    probes = [first.new_zeros(1, channels, PROBE_PIXELS, PROBE_PIXELS) for _, channels, _, _ in shapes_of(budget.input_shape)]
    with evaluating(model), torch.inference_mode():
        return tuple(model(*probes).shape)
