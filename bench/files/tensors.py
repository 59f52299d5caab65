"""Convert tensors to bytes and back, without pickle: the only adapter to safetensors."""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn


def tensors_to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return named tensors in the safetensors format.

    They must be contiguous, on the CPU, and must not share memory.
    """
    return save(dict(tensors))


def tensors_from_bytes(content: bytes) -> dict[str, Tensor]:
    """Return the named tensors, on the CPU.

    Raises:
        ValueError: the content is not in the safetensors format; a pickle is never opened.
    """
    try:
        return load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that torch lacks
        raise ValueError(str(error)) from error


def copy_to_cpu(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU that shares no memory, as safetensors needs it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def extract_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the model's state, for safetensors."""
    return {name: copy_to_cpu(tensor) for name, tensor in model.state_dict().items()}
