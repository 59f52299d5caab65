"""A network in a folder: spec.json (its description, the checksum of its weights) and weights.safetensors. Reading it runs no code.

One that is saved for the lean executor is rewritten when it is read (bench.lean).

save("my_net", model)
model = load("my_net")
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from
from safetensors.torch import save as bytes_of
from torch import Tensor, nn

from bench import atomic
from bench.bounded import json_of
from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.export.graph_spec import described, weights_for
from bench.export.rebuilding import rebuilt
from bench.lean.rewrite import lean
from bench.units import shapes_of

LARGEST_SIZE = 2**20
SPEC, WEIGHTS = "spec.json", "weights.safetensors"


def save(folder: str | Path, model: nn.Module, lean_at: Inputs | None = None) -> None:
    """Writes a network and all that rebuilds it.

    Args:
        folder: is made.
        model: in whatever mode; it is read back in eval mode.
        lean_at: the input (N, C, H, W) for which it is rewritten when it is read; None: it is not.

    Raises:
        ConfigError: it cannot be described.
    """
    graph, content = described(model), bytes_of(weights_for(model))
    spec: dict[str, Any] = {"graph": graph, "sha256": atomic.checksum(content)}
    if lean_at is not None:
        spec["lean_at"] = shapes_of(lean_at)
    atomic.write(Path(folder) / WEIGHTS, content)
    atomic.write(Path(folder) / SPEC, json.dumps(spec, allow_nan=False).encode())


def load(folder: str | Path) -> nn.Module:
    """The network that was saved in `folder`, on the CPU, in eval mode.

    Raises:
        ConfigError: the folder has no saved network, it is damaged, or it asks for what is not allowed.
    """
    spec, content = _read(Path(folder))
    model = rebuilt(spec["graph"], _tensors(content, Path(folder) / WEIGHTS))
    return lean(model, _shapes(spec["lean_at"], Path(folder))) if "lean_at" in spec else model


def _shapes(found: Any, folder: Path) -> tuple[Shape, ...]:
    """Checked inputs. Raises ConfigError."""
    shapes = found if isinstance(found, list) else []
    if not shapes or not all(isinstance(shape, list) and len(shape) == 4 and all(map(_is_size, shape)) for shape in shapes):
        raise ConfigError(f"{folder / SPEC}: lean_at = {str(found)[:80]} is no list of inputs [N, C, H, W]")
    return tuple((n, c, h, w) for n, c, h, w in shapes)


def _is_size(size: Any) -> bool:
    return type(size) is int and 0 < size < LARGEST_SIZE


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return tensors_from(content)
    except (SafetensorError, KeyError) as error:
        raise ConfigError(f"{path} holds no tensors in the form of safetensors: {error}") from error


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    for name in (SPEC, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}, so it holds no saved network; give a folder that prunebench wrote")
    try:
        spec = json_of(folder / SPEC)
    except ValueError as error:
        raise ConfigError(f"{folder / SPEC} is not a description of a network: {error}") from error
    if not isinstance(spec, dict) or not {"graph", "sha256"} <= spec.keys():
        raise ConfigError(f"{folder / SPEC} lacks graph or sha256")
    content = (folder / WEIGHTS).read_bytes()
    if atomic.checksum(content) != spec["sha256"]:
        raise ConfigError(f"{folder / WEIGHTS} is damaged: its checksum is not the one in {SPEC}; save it again")
    return spec, content
