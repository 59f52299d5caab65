"""A network as an ONNX model in memory: what runtimes that read ONNX start from.

It holds the weights, and no path or other trace of the machine that made it.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.graph.source_location import first_line
from bench.units import as_shapes

REQUIRED_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def has_onnx() -> bool:
    """Return whether the extra `onnx` is installed."""
    return not _missing_packages()


def _missing_packages() -> list[str]:
    return [name for name in REQUIRED_PACKAGES if find_spec(name) is None]


def require_onnx() -> None:
    """Raise ConfigError if the extra `onnx` is not installed."""
    if missing := _missing_packages():
        raise ConfigError(
            f"ONNX needs {' and '.join(missing)}, which is not installed: "
            "pip install 'prunebench[onnx]'"
        )


@contextmanager
def silence_exporters() -> Iterator[None]:
    """Keep the log, warnings and output of exporters off the terminal; errors are still raised."""
    before, handlers = logging.root.manager.disable, logging.root.handlers[:]
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        logging.root.handlers[:] = handlers  # one that was added inside writes to what is discarded


def plain_copy(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float32, contiguous and in eval mode.

    A network that was trained or measured is in channels_last, which ExecuTorch's kernels refuse.
    """
    copy = deepcopy(model).cpu().float().eval()
    return copy.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def to_static_onnx(model: nn.Module, shape: Inputs) -> Any:
    """Return the ModelProto of a network for inputs of exactly this (N, C, H, W).

    Raises:
        ConfigError: the network cannot be exported.
    """
    return to_onnx_proto(plain_copy(model), as_shapes(shape))


def write_static_onnx(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    """Write a network as ONNX for inputs of exactly these shapes."""
    path.write_bytes(to_static_onnx(model, shapes).SerializeToString())


def to_onnx_proto(
    model: nn.Module,
    shapes: tuple[Shape, ...],
    names: tuple[str, ...] = (),
    axes: tuple[Any, ...] = (),
) -> Any:
    """Return the ModelProto of a network.

    Args:
        model: on the CPU, in float32 and eval mode.
        shapes: of its inputs.
        names: of its outputs; () for those that torch gives.
        axes: that stay open, for each input.

    Raises:
        ConfigError: the network cannot be exported.
    """
    open_axes = [dict.fromkeys(each, torch.export.Dim.DYNAMIC) for each in axes] or None
    try:
        with silence_exporters(), torch.no_grad():
            # Exported here: torch.onnx would try what fails a second time, in a slower way.
            graph = torch.export.export(
                model, random_inputs(shapes), dynamic_shapes=open_axes, strict=False
            )
            program = torch.onnx.export(
                graph,
                dynamo=True,
                verbose=False,
                output_names=names or None,
                dynamic_shapes=axes or None,
            )
    except Exception as error:
        raise ConfigError(
            f"{type(model).__name__} cannot be exported to ONNX: {first_line(root_cause(error))}"
        ) from error
    proto = program.model_proto  # type: ignore[union-attr]
    for part in (
        proto,
        proto.graph,
        *proto.graph.node,
        *proto.graph.value_info,
        *proto.graph.input,
        *proto.graph.output,
    ):
        del part.metadata_props[:]  # stack traces, with paths of this machine
    return proto


def random_inputs(shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
    """Return new tensors with the same values at each call: a network may write into its input."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(shape, generator=generator) for shape in shapes)


def root_cause(error: BaseException) -> BaseException:
    """Return the first exception of a chain, because exporters wrap it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
