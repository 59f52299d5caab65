"""One saved network in a form that others read, and the proof that it is still the same network.

safetensors   a folder: spec.json, the network operator by operator, and weights.safetensors; load(folder) of bench.export.saved is enough
lean          the same, and bench.export.saved.load(folder) gives the network rewritten to reach the planned peak
onnx          one file for ONNX Runtime and its like
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import PluginError
from bench.export import saved
from bench.export.onnx_file import write_onnx
from bench.export.selection import Chosen
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import peak_memory
from bench.torch_state import evaluating
from bench.units import format_mib, format_shape, shapes_of

PROBE_PIXELS = 64
LEAN_DIFFERENCE = 1e-5  # of the largest output; sums are made in another order


def export_network(one: Chosen, form: str, place: Path) -> list[str]:
    """Writes it and returns what is to be said.

    Args:
        one: the network.
        form: "onnx", "safetensors" or "lean".
        place: a file for "onnx", else a folder.

    Raises:
        ConfigError: the network cannot be written in this form.
        PluginError: what was written computes something else.
    """
    writers: dict[str, Callable[[Chosen, Path], list[str]]] = {
        "onnx": _onnx,
        "safetensors": _safetensors,
        "lean": _lean,
    }
    return [f"{one.name} at {format_shape(one.shape)}", *writers[form](one, place)]


def default_place(one: Chosen, form: str, folder: Path) -> Path:
    """Where it goes if nobody says where."""
    name = re.sub(r"\W+", "-", one.name).strip("-")
    return folder / (f"{name}.onnx" if form == "onnx" else f"{name}-{form}")


def _onnx(one: Chosen, place: Path) -> list[str]:
    difference = write_onnx(one.model, one.shape, place)
    return [
        f"written to {place}",
        f"ONNX Runtime differs from PyTorch by at most {difference:.1e} of the largest output",
    ]


def _safetensors(one: Chosen, place: Path) -> list[str]:
    saved.save_graph(place, one.model)
    _compared(one, saved.load(place), 0.0)
    return [
        f"written to {place}: {saved.SPEC}, {saved.WEIGHTS}",
        "reloaded, it computes the same to the last bit",
        _reload(place),
    ]


def _lean(one: Chosen, place: Path) -> list[str]:
    saved.save_graph(place, one.model, lean_at=one.shape)
    running: Any = saved.load(place)
    difference = _compared(one, running, LEAN_DIFFERENCE)
    planned, measured = peak_memory(one.model, one.shape), measured_peak_bytes(running, one.shape)
    return [
        f"written to {place}: {saved.SPEC}, {saved.WEIGHTS}",
        f"it differs by at most {difference:.1e} of the largest output",
        f"measured peak {format_mib(measured)}, planned {format_mib(planned)} ({measured / planned - 1:+.1%})",
        *(
            f"not lean: {left.op}, {format_mib(left.bytes)} above the plan: {left.reason}"
            for left in running.remaining
        ),
        _reload(place),
    ]


def _reload(place: Path) -> str:
    return f"reload: from bench.export.saved import load; model = load({str(place)!r})"


def _compared(one: Chosen, again: nn.Module, allowed: float) -> float:
    """The largest difference of outputs, as a share of the largest output.

    Raises PluginError beyond what is allowed.
    """
    draws = torch.Generator().manual_seed(0)
    probes = [
        torch.rand(1, channels, PROBE_PIXELS, PROBE_PIXELS, generator=draws)
        for _, channels, _, _ in shapes_of(one.shape)
    ]
    wanted, found = (_output(model, probes) for model in (one.model, again))
    difference = float((wanted - found).abs().max() / wanted.abs().max().clamp_min(1e-12))
    if not difference <= allowed:
        raise PluginError(
            f"what was written of {one.name} differs by {difference:.1e} of the largest output, and {allowed:.0e} is allowed"
        )
    return difference


def _output(model: nn.Module, probes: Sequence[Tensor]) -> Tensor:
    with evaluating(model), torch.inference_mode():
        return model(*(probe.clone() for probe in probes))
