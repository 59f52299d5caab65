"""Export of one saved network in a form that other programs read, checked against the network.

safetensors   a folder with spec.json (the network operator by operator) and weights.safetensors;
              `prunebench.load(FOLDER)` needs nothing else
lean          the same, but `prunebench.load(FOLDER)` returns the network rewritten for the lean
              executor, which reaches the planned peak
onnx          one file for ONNX Runtime and other runtimes that read ONNX
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
from bench.export.selection import SelectedNetwork
from bench.graph.meta_run import limit_shapes
from bench.memory.measured import measured_peak_bytes
from bench.memory.profile import peak_memory
from bench.torch_state import eval_mode
from bench.units import as_shapes, format_mib, format_shape

PROBE_PIXELS = 64
LEAN_TOLERANCE = 1e-5  # of the largest output; the lean executor adds in another order


def export_network(network: SelectedNetwork, export_format: str, path: Path) -> list[str]:
    """Write a network and return the lines that tell the user about it.

    Args:
        network: to be exported.
        export_format: "onnx", "safetensors" or "lean".
        path: of a file for "onnx", else of a folder.

    Raises:
        ConfigError: the network cannot be written in this format.
        PluginError: the exported network computes something else.
    """
    writers: dict[str, Callable[[SelectedNetwork, Path], list[str]]] = {
        "onnx": _export_onnx,
        "safetensors": _export_safetensors,
        "lean": _export_lean,
    }
    return [
        f"{network.name} at {format_shape(network.shape)}",
        *writers[export_format](network, path),
    ]


def default_path(network: SelectedNetwork, export_format: str, folder: Path) -> Path:
    """Return the path below `folder` to which a network is exported by default."""
    name = re.sub(r"\W+", "-", network.name).strip("-")
    return folder / (f"{name}.onnx" if export_format == "onnx" else f"{name}-{export_format}")


def _export_onnx(network: SelectedNetwork, path: Path) -> list[str]:
    difference = write_onnx(network.model, network.shape, path)
    return [
        f"written to {path}",
        f"ONNX Runtime differs from PyTorch by at most {difference:.1e} of the largest output",
    ]


def _export_safetensors(network: SelectedNetwork, path: Path) -> list[str]:
    saved.save_graph(path, network.model)
    _compare(network, saved.load(path), 0.0)
    return [
        f"written to {path}: {saved.SPEC}, {saved.WEIGHTS}",
        "reloaded, it computes the same to the last bit",
        _reload_hint(path),
    ]


def _export_lean(network: SelectedNetwork, path: Path) -> list[str]:
    saved.save_graph(path, network.model, lean_at=network.shape)
    reloaded: Any = saved.load(path)
    difference = _compare(network, reloaded, LEAN_TOLERANCE)
    planned = peak_memory(network.model, network.shape)
    measured = measured_peak_bytes(reloaded, network.shape)
    return [
        f"written to {path}: {saved.SPEC}, {saved.WEIGHTS}",
        f"it differs by at most {difference:.1e} of the largest output",
        f"measured peak {format_mib(measured)}, planned {format_mib(planned)} "
        f"({measured / planned - 1:+.1%})",
        *(
            f"not lean: {step.op}, {format_mib(step.bytes)} above the plan: {step.reason}"
            for step in reloaded.excess
        ),
        _reload_hint(path),
    ]


def _reload_hint(folder: Path) -> str:
    return f"reload: from prunebench import load; model = load({str(folder)!r})"


def _compare(network: SelectedNetwork, reloaded: nn.Module, tolerance: float) -> float:
    """Return the largest difference of outputs, as a share of the largest output.

    Raises PluginError if it is above the tolerance.
    """
    generator = torch.Generator().manual_seed(0)
    probes = [
        torch.rand(shape, generator=generator)
        for shape in limit_shapes(network.model, as_shapes(network.shape), PROBE_PIXELS)
    ]
    expected, actual = (_run(model, probes) for model in (network.model, reloaded))
    difference = float((expected - actual).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not difference <= tolerance:
        raise PluginError(
            f"the exported form of {network.name} differs by {difference:.1e} of the largest "
            f"output, and {tolerance:.0e} is allowed"
        )
    return difference


def _run(model: nn.Module, probes: Sequence[Tensor]) -> Tensor:
    with eval_mode(model), torch.inference_mode():
        return model(*(probe.clone() for probe in probes))
