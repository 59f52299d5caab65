"""Export of a network to one ONNX file.

The file is written only after ONNX Runtime has computed the same as PyTorch. The number of images,
their height and their width stay open where the network allows it. The file holds the weights, and
no path or other trace of the machine that wrote it. Needs the extra `onnx`.
"""

from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.files import atomic
from bench.files.log import LOG
from bench.graph.source_location import first_line
from bench.graph.tracing import trace_module
from bench.runtimes.onnx_form import (
    plain_copy,
    random_inputs,
    require_onnx,
    silence_exporters,
    to_onnx_proto,
)
from bench.units import as_shapes, format_mib, format_shape

TOLERANCE = 1e-4  # of the largest output
MAX_BYTES = 2**31 - 2**20  # of one file, a limit of the format
SMALL_PIXELS = 64
AXES = {0: "batch", 2: "height", 3: "width"}
SIZE_READS = (getattr, "size", "numel", "nelement", torch.numel)
SIZE_FREE = (  # ONNX operators none of whose arguments is a size
    "Abs Add BatchNormalization Clip Concat Conv ConvTranspose DepthToSpace Div Elu Erf Exp Gelu "
    "GlobalAveragePool HardSigmoid HardSwish Identity LeakyRelu MaxPool Mul Neg PRelu Pow Relu "
    "Sigmoid Softplus SpaceToDepth Sqrt Sub Tanh"
)


def write_onnx(model: nn.Module, shape: Inputs, path: str | Path, dynamic: bool = True) -> float:
    """Write a network in float32 and eval mode after ONNX Runtime has computed the same.

    Args:
        model: stays as it is.
        shape: (N, C, H, W) at which it is exported, or several for several inputs.
        path: of the file; an error leaves no half-written file.
        dynamic: leave batch, height and width open. Where that is not possible they are those of
            `shape`, and a warning says so.

    Returns:
        The largest difference between the outputs of ONNX Runtime and PyTorch, as a share of the
        largest output.

    Raises:
        ConfigError: the network cannot be exported or computes something else as ONNX, or the
            extra `onnx` is not installed.
    """
    content, difference = to_onnx_bytes(model, shape, dynamic)
    atomic.write(Path(path), content)
    return difference


def to_onnx_bytes(model: nn.Module, shape: Inputs, dynamic: bool = True) -> tuple[bytes, float]:
    """Return the content of the file that `write_onnx` writes, and the difference."""
    require_onnx()
    plain = plain_copy(model)
    shapes = as_shapes(shape)
    _check_size(plain)
    if not dynamic:
        return _export_and_check(plain, shapes, shapes, False)
    try:
        return _export_and_check(plain, _open_shapes(shapes), _other_shapes(shapes), True)
    except ConfigError as error:
        result = _export_and_check(plain, shapes, shapes, False)
        LOG.warning(
            "the ONNX file takes inputs of %s only; with open sizes, %s",
            format_shape(shapes),
            error,
        )
        return result


def _export_and_check(
    model: nn.Module,
    export_shapes: tuple[Shape, ...],
    check_shapes: tuple[Shape, ...],
    is_open: bool,
) -> tuple[bytes, float]:
    """Return the file of a network and its largest difference from PyTorch.

    Args:
        model: in float32 and eval mode, on the CPU.
        export_shapes: of the inputs at which it is exported.
        check_shapes: of the inputs at which ONNX Runtime and PyTorch are compared.
        is_open: whether batch, height and width stay open.

    Raises:
        ConfigError: the network cannot be exported or computes something else as ONNX.
    """
    import onnx

    try:
        with silence_exporters(), torch.no_grad():
            expected = flatten_outputs(model(*random_inputs(check_shapes)))
    except Exception as error:
        raise ConfigError(
            f"the network does not accept an input of {format_shape(check_shapes)}: "
            f"{first_line(error)}"
        ) from error
    names = _output_names(len(expected))
    proto = _export_open(model, export_shapes, names) if is_open else None
    if proto is None:
        axes = (AXES,) * len(export_shapes) if is_open else ()
        proto = to_onnx_proto(model, export_shapes, names, axes)
    try:
        onnx.checker.check_model(proto, full_check=True)
        content = proto.SerializeToString()
        actual = _run_onnx(content, random_inputs(check_shapes))
    except Exception as error:
        raise ConfigError(
            f"the ONNX form of {type(model).__name__} is not valid: {first_line(error)}"
        ) from error
    return content, _compare_outputs(type(model).__name__, expected, actual)


def _export_open(model: nn.Module, shapes: tuple[Shape, ...], names: tuple[str, ...]) -> Any:
    """Return a ModelProto whose axes were opened after it was exported at these shapes.

    A network that reads no size and has no operator with one is the same at every size. An export
    with symbolic sizes takes four times as long.

    Returns:
        None for all other networks.
    """
    from onnx import shape_inference

    try:
        nodes = trace_module(model).graph.nodes
    except ConfigError:
        return None
    if any(node.target in SIZE_READS for node in nodes):
        return None
    proto = to_onnx_proto(model, shapes, names)
    if not {node.op_type for node in proto.graph.node} <= set(SIZE_FREE.split()):
        return None
    del proto.graph.value_info[:]
    outputs = {0: "batch", 2: "output_height", 3: "output_width"}
    for axes, values in ((AXES, proto.graph.input), (outputs, proto.graph.output)):
        for axis, value in product(axes, values):
            value.type.tensor_type.shape.dim[axis].dim_param = axes[axis]
    return shape_inference.infer_shapes(proto)


def _output_names(count: int) -> tuple[str, ...]:
    return ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))


def _run_onnx(content: bytes, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Return the outputs that ONNX Runtime computes on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True))
    return [torch.from_numpy(array) for array in session.run(None, feed)]


def _compare_outputs(name: str, expected: list[Tensor], actual: list[Tensor]) -> float:
    """Return the largest difference over all outputs, each as a share of its own largest value.

    Raises ConfigError if it is above the tolerance.
    """
    expected_shapes = [tuple(tensor.shape) for tensor in expected]
    actual_shapes = [tuple(tensor.shape) for tensor in actual]
    if expected_shapes != actual_shapes:
        raise ConfigError(f"{name} gives {expected_shapes} in PyTorch and {actual_shapes} as ONNX")
    worst = 0.0
    for index, (torch_output, onnx_output) in enumerate(zip(expected, actual, strict=True)):
        scale = torch_output.double().abs().max().item() or 1.0
        difference = (torch_output.double() - onnx_output.double()).abs().max().item() / scale
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"output {index} of {name} differs as ONNX by {difference:.1e} "
                f"of its largest value, more than {TOLERANCE:.0e}"
            )
        worst = max(worst, difference)
    return worst


def _check_size(model: nn.Module) -> None:
    tensors = model.state_dict().values()
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size_bytes > MAX_BYTES:
        raise ConfigError(
            f"weights of {format_mib(size_bytes)} do not fit into one ONNX file, "
            f"which holds {format_mib(MAX_BYTES)}"
        )


def _open_shapes(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return shapes at which all axes can stay open: torch.onnx fixes an axis of size 1."""
    return tuple((max(n, 2), c, h, w) for n, c, h, w in shapes)


def _other_shapes(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return other shapes that suit a network that is not made for one size; small, to be fast."""
    height_factor = _halving_factor(min(h for _, _, h, _ in shapes))
    width_factor = _halving_factor(min(w for _, _, _, w in shapes))
    return tuple((n, c, 2 * h // height_factor, w // width_factor) for n, c, h, w in shapes)


def _halving_factor(size: int) -> int:
    """Return the largest power of two that divides `size` and leaves at least SMALL_PIXELS."""
    factor = 1
    while size % (2 * factor) == 0 and size // (2 * factor) >= SMALL_PIXELS:
        factor *= 2
    return factor


def flatten_outputs(result: Any) -> list[Tensor]:
    """Return all tensors of a network's result, in their order."""
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in flatten_outputs(part)]
