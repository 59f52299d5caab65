"""A network in a folder: spec.json and weights.safetensors. Reading it runs no code.

spec.json holds the description of the network (`bench.export.graph_spec`), the checksum of the
weights, and a checksum of itself. A network that was saved for the lean executor is rewritten for
it when it is loaded (`bench.lean`).

    save("my_net", model)
    model = load("my_net")
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.export.graph_spec import describe_network, weights_for
from bench.export.rebuild import rebuild_network
from bench.files import atomic, checked_json
from bench.files.hashing import checksum
from bench.files.tensors import tensors_from_bytes, tensors_to_bytes
from bench.lean.pipeline import make_lean
from bench.units import as_shapes

MAX_SIZE = 2**20  # of one dimension of an input
SPEC, WEIGHTS = "spec.json", "weights.safetensors"
SCHEMA = 1  # of spec.json; raise it when older programs could not read the file
GRAPH_KEYS = {"graph", "sha256"}
REMEDY = (
    "prune or export it again; for a network of a run, move its records/KEY.json away "
    "and repeat the run"
)


def save(folder: str | Path, model: nn.Module, lean_at: Inputs | None = None) -> None:
    """Write a network with all that is needed to rebuild it.

    Args:
        folder: is created.
        model: in either mode; it is loaded in eval mode.
        lean_at: the input (N, C, H, W) for which the network is rewritten for the lean executor
            when it is loaded; None: it is not rewritten.

    Raises:
        ConfigError: the network cannot be described.
    """
    spec: dict[str, Any] = {"graph": describe_network(model)}
    if lean_at is not None:
        spec["lean_at"] = as_shapes(lean_at)
    write_folder(Path(folder), spec, tensors_to_bytes(weights_for(model)), indent=None)


def write_folder(
    folder: Path, spec: Mapping[str, Any], weights: bytes, indent: int | None = 1
) -> None:
    """Write the description of a network and its weights. Raises DiskError."""
    atomic.write(folder / WEIGHTS, weights)
    content = {"schema": SCHEMA, **spec, "sha256": checksum(weights)}
    checked_json.write(folder / SPEC, content, indent)


def load(folder: str | Path) -> nn.Module:
    """Return the network that was saved in `folder`, on the CPU, in eval mode.

    Raises:
        ConfigError: the folder holds no saved network, or one that is damaged or that uses an
            operator, layer or name that is not allowed.
    """
    return rebuild_from_content(Path(folder), *read_folder(Path(folder), GRAPH_KEYS))


def rebuild_from_content(folder: Path, spec: Mapping[str, Any], weights: bytes) -> nn.Module:
    """Rebuild a network from the content of its folder. Raises ConfigError."""
    model = rebuild_network(spec["graph"], _parse_tensors(weights, folder / WEIGHTS))
    return make_lean(model, _check_shapes(spec["lean_at"], folder)) if "lean_at" in spec else model


def read_folder(folder: Path, required: Collection[str]) -> tuple[dict[str, Any], bytes]:
    """Read the description and the weights of a saved network, and verify their checksums.

    Args:
        folder: of the saved network.
        required: keys that a description without a graph must have.

    Raises:
        ConfigError: a file is missing, damaged, or written by a newer program.
    """
    for name in (SPEC, WEIGHTS):
        if not atomic.exists(folder / name):
            raise ConfigError(
                f"{folder} has no {name}, so it holds no saved network; "
                "give a folder that prunebench wrote"
            )
    try:
        spec = checked_json.read(folder / SPEC, SCHEMA)
    except ValueError as error:
        raise ConfigError(
            f"{folder / SPEC} is damaged, or not a description of a network ({error}); {REMEDY}"
        ) from error
    missing = (GRAPH_KEYS if "graph" in spec else {*required, "sha256"}) - spec.keys()
    if missing:
        raise ConfigError(f"{folder / SPEC} lacks {', '.join(sorted(missing))}")
    weights = atomic.read(folder / WEIGHTS)
    if checksum(weights) != spec["sha256"]:
        raise ConfigError(
            f"{folder / WEIGHTS} is damaged: its checksum is not the one in {SPEC}; {REMEDY}"
        )
    return spec, weights


def _check_shapes(value: Any, folder: Path) -> tuple[Shape, ...]:
    """Return the inputs that `lean_at` of a spec.json lists. Raises ConfigError."""
    shapes = value if isinstance(value, list) else []
    if not shapes or not all(
        isinstance(shape, list) and len(shape) == 4 and all(map(_is_size, shape))
        for shape in shapes
    ):
        raise ConfigError(
            f"{folder / SPEC}: lean_at = {str(value)[:80]} is no list of inputs [N, C, H, W]"
        )
    return tuple((n, c, h, w) for n, c, h, w in shapes)


def _is_size(size: Any) -> bool:
    return type(size) is int and 0 < size < MAX_SIZE


def _parse_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return tensors_from_bytes(content)
    except ValueError as error:
        raise ConfigError(f"{path} holds no tensors in the form of safetensors: {error}") from error
