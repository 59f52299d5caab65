"""A network as one ONNX file that any runtime reads: exported, checked, run beside PyTorch, and only then written.

The number of images, their height and their width stay open where the network allows it. The file
holds the weights, and nothing that tells of the machine that wrote it. Needs the extra `onnx`.
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
from bench.files import atomic
from bench.files.log import LOG
from bench.graph.source_location import first_line
from bench.units import format_mib, format_shape, shapes_of

TOLERANCE = 1e-4  # of the largest output
LARGEST_BYTES = 2**31 - 2**20  # of one file: a limit of its format
SMALL_PIXELS = 64
AXES = {0: "batch", 2: "height", 3: "width"}
NEEDED = ("onnx", "onnxruntime", "onnxscript")


def write_onnx(model: nn.Module, shape: Inputs, path: str | Path, dynamic: bool = True) -> float:
    """Writes a network in float32, in eval mode, after ONNX Runtime has computed what PyTorch computes.

    Args:
        model: stays as it is.
        shape: (N, C, H, W) that it is exported at, or several for several inputs.
        path: of the file; there is nothing half-written if something goes wrong.
        dynamic: leave batch, height and width open; where that is not possible they are those of
            `shape`, and a warning says so.

    Returns:
        The largest difference between the outputs of ONNX Runtime and PyTorch, as a part of the
            largest output.

    Raises:
        ConfigError: the network cannot be exported, or computes something else as ONNX; or the
            extra `onnx` is not installed.
    """
    content, difference = onnx_bytes(model, shape, dynamic)
    atomic.write(Path(path), content)
    return difference


def onnx_bytes(model: nn.Module, shape: Inputs, dynamic: bool = True) -> tuple[bytes, float]:
    """What `write_onnx` writes, and the difference that it returns."""
    require_onnx()
    plain, shapes = deepcopy(model).cpu().float().eval(), shapes_of(shape)
    _check_size(plain)
    if not dynamic:
        return _checked(plain, shapes, shapes, ())
    try:
        return _checked(plain, _open(shapes), _other(plain, shapes), (AXES,) * len(shapes))
    except ConfigError as error:
        written = _checked(plain, shapes, shapes, ())
        LOG.warning(
            "the ONNX file takes inputs of %s only; with open sizes, %s",
            format_shape(shapes),
            error,
        )
        return written


def require_onnx() -> None:
    """Raises ConfigError if the extra is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"ONNX needs {' and '.join(missing)}, which is not installed: pip install 'prunebench[onnx]'"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters say by the way from the user's terminal; errors are raised all the same."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _checked(
    model: nn.Module, exported: tuple[Shape, ...], run: tuple[Shape, ...], axes: tuple[Any, ...]
) -> tuple[bytes, float]:
    """The file of a network that is exported at some shapes, and its difference at others.

    Raises ConfigError.
    """
    import onnx

    try:
        with quiet(), torch.no_grad():
            wanted = flat(model(*_random(run)))
    except Exception as error:
        raise ConfigError(
            f"the network does not accept an input of {format_shape(run)}: {first_line(error)}"
        ) from error
    proto = _exported(model, exported, axes, len(wanted))
    try:
        onnx.checker.check_model(proto, full_check=True)
        content = proto.SerializeToString()
        found = _computed(content, _random(run))
    except Exception as error:
        raise ConfigError(
            f"the ONNX form of {type(model).__name__} is not sound: {first_line(error)}"
        ) from error
    return content, _difference(type(model).__name__, wanted, found)


def _exported(
    model: nn.Module, shapes: tuple[Shape, ...], axes: tuple[Any, ...], outputs: int
) -> Any:
    """The ModelProto. Raises ConfigError."""
    names = ["output"] if outputs == 1 else [f"output_{place}" for place in range(outputs)]
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                _random(shapes),
                dynamo=True,
                verbose=False,
                output_names=names,
                dynamic_shapes=axes or None,
            )
    except Exception as error:
        raise ConfigError(
            f"{type(model).__name__} cannot be exported to ONNX: {first_line(_root(error))}"
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


def _root(error: BaseException) -> BaseException:
    """What an exception was raised for in the end: torch.onnx wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _computed(content: bytes, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """What ONNX Runtime computes on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    feed = dict(zip(names, (each.numpy() for each in inputs), strict=True))
    return [torch.from_numpy(each) for each in session.run(None, feed)]


def _difference(name: str, wanted: list[Tensor], found: list[Tensor]) -> float:
    """The largest one over all outputs, each as a part of its own largest value.

    Raises ConfigError above the tolerance.
    """
    shapes = [[tuple(one.shape) for one in each] for each in (wanted, found)]
    if shapes[0] != shapes[1]:
        raise ConfigError(f"{name} gives {shapes[0]} in PyTorch and {shapes[1]} as ONNX")
    worst = 0.0
    for place, (one, other) in enumerate(zip(wanted, found, strict=True)):
        scale = one.double().abs().max().item() or 1.0
        difference = (one.double() - other.double()).abs().max().item() / scale
        if not difference <= TOLERANCE:
            found_part = f"{difference:.1e} of its largest value, more than {TOLERANCE:.0e}"
            raise ConfigError(f"output {place} of {name} differs as ONNX by {found_part}")
        worst = max(worst, difference)
    return worst


def _check_size(model: nn.Module) -> None:
    size_bytes = sum(each.numel() * each.element_size() for each in model.state_dict().values())
    if size_bytes > LARGEST_BYTES:
        raise ConfigError(
            f"weights of {format_mib(size_bytes)} do not fit into one ONNX file, which holds {format_mib(LARGEST_BYTES)}"
        )


def _open(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Shapes that an axis can stay open at: one of 1 is taken for fixed."""
    return tuple((max(n, 2), c, h, w) for n, c, h, w in shapes)


def _other(model: nn.Module, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Shapes of another size that the network accepts, small to be fast; else the same ones."""
    heights, widths = {h for _, _, h, _ in shapes}, {w for _, _, _, w in shapes}
    down, across = _halvings(min(heights)), _halvings(min(widths))
    other = tuple((n, c, 2 * h // down, w // across) for n, c, h, w in shapes)
    try:
        with quiet(), torch.no_grad():
            model(*_random(other))
    except Exception as error:
        LOG.debug("not at %s: %s", format_shape(other), error)
        return shapes
    return other


def _random(shapes: tuple[Shape, ...]) -> tuple[Tensor, ...]:
    """Inputs, the same each time and new ones each time: a network may write into them."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(one, generator=generator) for one in shapes)


def _halvings(size: int) -> int:
    """The largest power of two that leaves at least SMALL_PIXELS and no remainder."""
    factor = 1
    while size % (2 * factor) == 0 and size // (2 * factor) >= SMALL_PIXELS:
        factor *= 2
    return factor


def flat(result: Any) -> list[Tensor]:
    """All tensors that a network returns, in their order."""
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in flat(part)]
