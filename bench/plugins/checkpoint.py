"""Checkpoints of other people's networks, read by spandrel: FILE.pth or "spandrel:FILE.pth".

The tensors are read without running code from the file: safetensors, or torch's pickle of tensors
alone. spandrel (an optional extra) finds the architecture, its options and its scale from their
names and shapes, and has the code of the architecture. spandrel_extra_arches, if it is installed,
adds architectures. The only adapter to both.

Networks take and give images as those of the tasks: RGB in 0..1, (N, C, H, W). One that spandrel
feeds more than the image, or whose output it changes, is refused: it is not the function that would
be pruned.
"""

from collections.abc import Mapping
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.contract import Task
from bench.errors import ConfigError
from bench.files.tensors import tensors_from_bytes
from bench.graph.source_location import first_line
from bench.torch_state import eval_mode

PREFIX = "spandrel:"
SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
PROBE_PIXELS = 64  # height and width of the image that is tried, if the network accepts it
TOLERANCE = 1e-5


def is_checkpoint(backbone: str) -> bool:
    """Return whether the name of a backbone refers to a checkpoint."""
    return backbone.startswith(PREFIX) or backbone.endswith(SUFFIXES)


def checkpoint_path(backbone: str) -> Path:
    """Return the file of a checkpoint, which need not exist."""
    return Path(backbone.removeprefix(PREFIX))


def source_hash(backbone: str) -> str:
    """Return a hash of the file and of the version of the code that builds its network.

    Raises ConfigError if there is no such file.
    """
    path = _existing_file(backbone)
    version = getattr(_import_spandrel(path), "__version__", "")
    with path.open("rb") as file:
        content = file_digest(file, "sha256").hexdigest()
    return sha256(f"{content}\0spandrel {version}".encode()).hexdigest()


def load(backbone: str, options: Mapping[str, Any], task: Task | None = None) -> nn.Module:
    """Return the network of a checkpoint with its weights, in float32 and eval mode, on the CPU.

    Args:
        backbone: FILE or "spandrel:FILE".
        options: must be empty: the file decides.
        task: that the network must fit; None: any number of channels and any scale will do.

    Raises:
        ConfigError: spandrel is not installed; the file is no checkpoint of an architecture that it
            knows; the network needs more than an image, or does not fit the task.
    """
    path = _existing_file(backbone)
    if options:
        raise ConfigError(f"{path} takes no options: it decides {', '.join(options)} itself")
    spandrel = _import_spandrel(path)
    found = _detect(spandrel, path, _read_tensors(path))
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ConfigError(
            f"{path} holds {found.architecture.name}, which needs a mask beside the image; "
            "give a network that takes an image alone"
        )
    if task is not None:
        _check_task(path, found, task)
    model: nn.Module = found.model.float().eval()
    _check_takes_an_image(path, found, model)
    return model


def _existing_file(backbone: str) -> Path:
    path = checkpoint_path(backbone)
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"'{path}' does not name a checkpoint; give a file that ends in {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    return path


def _import_spandrel(path: Path) -> Any:
    """Return the module spandrel, with the architectures of spandrel_extra_arches if it is there.

    Raises ConfigError if it is not installed.
    """
    try:
        import spandrel
    except ImportError as error:
        raise ConfigError(
            f"{path} is read by spandrel, which cannot be imported ({first_line(error)}): "
            "pip install 'prunebench[spandrel]'"
        ) from error
    if find_spec("spandrel_extra_arches"):
        import spandrel_extra_arches

        spandrel_extra_arches.install(ignore_duplicates=True)
    return spandrel


def _read_tensors(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint: tensors by name, or tables of them.

    Raises ConfigError if the file is damaged, or holds anything that code would have to make.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(tensors_from_bytes(path.read_bytes()))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file may be anything, and torch's advice is to run its code
        raise ConfigError(
            f"{path} is damaged or holds more than tensors, so it is not read "
            f"({type(error).__name__}); give a state dict, best as .safetensors"
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds a {type(content).__name__}, not a state dict; "
            "save model.state_dict() instead"
        )
    return content


def _detect(spandrel: Any, path: Path, content: dict[str, Any]) -> Any:
    """Return spandrel's description of the network, with the network. Raises ConfigError."""
    state = spandrel.canonicalize_state_dict(content)
    try:
        with torch.device("cpu"):
            return spandrel.ModelLoader("cpu").load_from_state_dict(state)
    except spandrel.UnsupportedModelError as error:
        names = ", ".join(list(state)[:3])
        raise ConfigError(
            f"{path} is of no architecture that spandrel knows (its first weights: {names}); "
            "build the network in a Python file instead and give FILE.py:NAME"
        ) from error
    except Exception as error:  # weights that only look like an architecture
        raise ConfigError(
            f"{path} cannot be loaded by spandrel: {type(error).__name__}: {first_line(error)}"
        ) from error


def _check_task(path: Path, found: Any, task: Task) -> None:
    """Raise ConfigError if the channels or the scale of a network are not those of the task."""
    channels, scale = task.measured_at[1], getattr(task, "scale", 1)
    if (found.input_channels, found.output_channels, found.scale) != (channels, channels, scale):
        raise ConfigError(
            f"{path} is a {found.architecture.name} from {found.input_channels} to "
            f"{found.output_channels} channels at scale {found.scale}; task {task.name} wants "
            f"{channels} to {channels} at scale {scale}"
        )


def _check_takes_an_image(path: Path, found: Any, model: nn.Module) -> None:
    """Raise ConfigError if spandrel does more than to call the network with the image."""
    image = torch.rand(_probe_shape(found), generator=torch.Generator().manual_seed(0))
    name = found.architecture.name
    with torch.no_grad(), eval_mode(model):
        expected = found(image.clone())
        try:
            output = model(image)
        except Exception as error:
            raise ConfigError(
                f"{path} holds {name}, which needs more than the image, such as a map of the noise "
                f"({type(error).__name__}: {first_line(error)}); wrap it in a Python file and give "
                "FILE.py:NAME"
            ) from error
    if not isinstance(output, Tensor) or not torch.allclose(
        output.clamp(0, 1), expected, atol=TOLERANCE
    ):
        raise ConfigError(
            f"{path} holds {name}, whose output is not the image alone; wrap it in a Python file "
            "and give FILE.py:NAME"
        )


def _probe_shape(found: Any) -> tuple[int, int, int, int]:
    """Return the shape of a small image that the network accepts without padding."""
    sizes = found.size_requirements
    multiple = sizes.multiple_of or 1
    side = -(-max(PROBE_PIXELS, sizes.minimum or 0) // multiple) * multiple
    return 1, found.input_channels, side, side
