"""Tensors as bytes and back, without pickle. The only door to safetensors."""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn


def tensors_to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors in the form of safetensors.

    They must be contiguous and on the CPU, and share no memory.
    """
    return save(dict(tensors))


def tensors_from_bytes(content: bytes) -> dict[str, Tensor]:
    """Named tensors, on the CPU.

    Raises ValueError if they are in another form, for example a pickle, which is never opened.
    """
    try:
        return load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a number type that torch does not have
        raise ValueError(str(error)) from error


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state as contiguous tensors on the CPU, fit for safetensors."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
