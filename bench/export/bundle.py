"""A network in a folder: spec.json (its description, the checksum of its weights, its own) and weights.safetensors. Reading runs no code.

One that is saved for the lean executor is rewritten when it is read (bench.lean).

save("my_net", model)
model = load("my_net")
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.export.graph_spec import described, weights_for
from bench.export.rebuild import rebuilt
from bench.files import atomic, checked_json
from bench.files.hashing import checksum
from bench.files.tensors import tensors_from_bytes, tensors_to_bytes
from bench.lean.pipeline import lean
from bench.units import shapes_of

LARGEST_SIZE = 2**20
SPEC, WEIGHTS = "spec.json", "weights.safetensors"
FORM = 1  # of spec.json; raise it when programs from before could not read it
OF_A_GRAPH = {"graph", "sha256"}
AGAIN = "prune or export it again; for a network of a run, move its records/KEY.json away and repeat the run"


def save(folder: str | Path, model: nn.Module, lean_at: Inputs | None = None) -> None:
    """Writes a network and all that rebuilds it.

    Args:
        folder: is made.
        model: in whatever mode; it is read back in eval mode.
        lean_at: the input (N, C, H, W) for which it is rewritten when it is read; None: it is not.

    Raises:
        ConfigError: it cannot be described.
    """
    spec: dict[str, Any] = {"graph": described(model)}
    if lean_at is not None:
        spec["lean_at"] = shapes_of(lean_at)
    write(Path(folder), spec, tensors_to_bytes(weights_for(model)), indent=None)


def write(folder: Path, spec: Mapping[str, Any], weights: bytes, indent: int | None = 1) -> None:
    """Writes what rebuilds a network, and its weights. Raises DiskError."""
    atomic.write(folder / WEIGHTS, weights)
    checked_json.write(folder / SPEC, {"schema": FORM, **spec, "sha256": checksum(weights)}, indent)


def load(folder: str | Path) -> nn.Module:
    """The network that was saved in `folder`, on the CPU, in eval mode.

    Raises:
        ConfigError: the folder has no saved network, it is damaged, or it asks for what is not
            allowed.
    """
    return rebuild(Path(folder), *read(Path(folder), OF_A_GRAPH))


def rebuild(folder: Path, spec: Mapping[str, Any], weights: bytes) -> nn.Module:
    """The network of what was read from a folder. Raises ConfigError."""
    model = rebuilt(spec["graph"], _tensors(weights, folder / WEIGHTS))
    return lean(model, _shapes(spec["lean_at"], folder)) if "lean_at" in spec else model


def read(folder: Path, needed: Collection[str]) -> tuple[dict[str, Any], bytes]:
    """The description and the weights, both whole.

    Args:
        folder: that holds them.
        needed: what a description without a graph must have.

    Raises:
        ConfigError: there is none, it is damaged, or of a newer program.
    """
    for name in (SPEC, WEIGHTS):
        if not atomic.is_there(folder / name):
            raise ConfigError(
                f"{folder} has no {name}, so it holds no saved network; give a folder that prunebench wrote"
            )
    try:
        spec = checked_json.read(folder / SPEC, FORM)
    except ValueError as error:
        raise ConfigError(
            f"{folder / SPEC} is damaged, or not a description of a network ({error}); {AGAIN}"
        ) from error
    missing = (OF_A_GRAPH if "graph" in spec else {*needed, "sha256"}) - spec.keys()
    if missing:
        raise ConfigError(f"{folder / SPEC} lacks {', '.join(sorted(missing))}")
    weights = atomic.read(folder / WEIGHTS)
    if checksum(weights) != spec["sha256"]:
        raise ConfigError(
            f"{folder / WEIGHTS} is damaged: its checksum is not the one in {SPEC}; {AGAIN}"
        )
    return spec, weights


def _shapes(found: Any, folder: Path) -> tuple[Shape, ...]:
    """Checked inputs. Raises ConfigError."""
    shapes = found if isinstance(found, list) else []
    if not shapes or not all(
        isinstance(shape, list) and len(shape) == 4 and all(map(_is_size, shape))
        for shape in shapes
    ):
        raise ConfigError(
            f"{folder / SPEC}: lean_at = {str(found)[:80]} is no list of inputs [N, C, H, W]"
        )
    return tuple((n, c, h, w) for n, c, h, w in shapes)


def _is_size(size: Any) -> bool:
    return type(size) is int and 0 < size < LARGEST_SIZE


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(content)
    except ValueError as error:
        raise ConfigError(f"{path} holds no tensors in the form of safetensors: {error}") from error
