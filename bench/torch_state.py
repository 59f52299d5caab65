"""The state of a network and of its use: mode, device and memory layout; scores in the making."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain

import torch
from torch import nn

from bench.errors import ConfigError

_IS_SCORING = ContextVar("is_scoring", default=False)


@contextmanager
def scoring() -> Iterator[None]:
    """Mark the backward passes inside the block as the harness's own, which are no training.

    They score channels, or solve a least-squares problem.
    """
    token = _IS_SCORING.set(True)
    try:
        yield
    finally:
        _IS_SCORING.reset(token)


def is_scoring() -> bool:
    """Return whether the backward passes are the harness's own."""
    return _IS_SCORING.get()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode within the block, then restore the mode of every module."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def to_channels_last(model: nn.Module, device: str | torch.device) -> nn.Module:
    """Move a network to a device, in place, weights of four axes in channels_last; return it."""
    model.to(torch.device(device))
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.dim() == 4:  # Module.to(memory_format=...) also tries tensors of five, and raises
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute convolutions in float32 inside the block; NVIDIA GPUs take TF32 for them by default.

    TF32 has 10 bits of mantissa: the same network with other sizes differs by 1e-3.
    """
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def choose_device(name: str) -> str:
    """Return the device, for "auto" the best one available.

    Raises ConfigError if the named one is not available.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available.get(name.split(":")[0], False):
        choices = ", ".join(kind for kind in available if available[kind])
        raise ConfigError(f"device '{name}' is not available here; choose from {choices} or auto")
    return name
