"""Peak memory of a network as it is written: the ruler "as run", which needs no graph.

The network runs once on fake tensors, which have shapes, storages and no data. A storage counts
from the operator that makes it until Python frees it, so that what a frame, a list or an attribute
holds counts as in a real run, and so do the indices of a pooling. The inputs count, and are held by
the caller until the end. Weights, buffers and other tensors that the network has before it runs do
not count; what is computed from them does.

No operator is known here by name, so networks that cannot be traced are measured too. What a kernel
allocates and frees for itself is not seen: `bench.memory.measured` sees it. Of PyTorch's attention
that would be nearly everything, so `nn.MultiheadAttention` is measured written out, which may need
more than its kernel does.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any
from weakref import WeakSet, finalize

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.graph.plain_layers import with_plain_layers
from bench.graph.source_location import first_line
from bench.units import as_shapes, format_shape


def as_run_peak_bytes(model: nn.Module, shape: Inputs) -> int:
    """Return the most bytes that are alive after an operator of a forward pass, in eval mode.

    Arguments and errors are those of `as_run_levels`.
    """
    return max(as_run_levels(model, shape), default=0)


def as_run_levels(model: nn.Module, shape: Inputs) -> list[int]:
    """Return the bytes that are alive after each operator of a forward pass, in eval mode.

    Args:
        model: left untouched; it need not be traceable.
        shape: of its input (N, C, H, W), or one for each of several inputs.

    Raises:
        ConfigError: the network cannot be copied, does not accept the shape, or needs the values of
            its input to go on.
    """
    if any(type(layer) is nn.MultiheadAttention for layer in model.modules()):
        with suppress(ConfigError):  # of a form that is not known
            return _run_on_fake_tensors(with_plain_layers(model), shape)
    return _run_on_fake_tensors(model, shape)


def _run_on_fake_tensors(model: nn.Module, shape: Inputs) -> list[int]:
    # Imported late: takes a second.
    from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

    fake_tensors = FakeTensorMode(allow_non_fake_inputs=True)
    living = _LivingStorages()
    try:
        with FakeCopyMode(fake_tensors):
            twin = deepcopy(model).eval()
        dtype = next((weight.dtype for weight in twin.parameters()), torch.float32)
        with torch.no_grad(), fake_tensors, living, _silence_log():
            twin(*[torch.empty(size, dtype=dtype) for size in as_shapes(shape)])
    except Exception as error:  # a user's network may raise anything
        raise ConfigError(
            f"{type(model).__name__} does not run without data at {format_shape(shape)}: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error
    return living.levels


@contextmanager
def _silence_log() -> Iterator[None]:
    """Let PyTorch not log what fails inside the block, with its traceback; the error is raised."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


class _LivingStorages(TorchDispatchMode):
    """Adds up the storages that operators make, until these are freed.

    Attributes:
        known: the living storages that operators have read or made.
        level: bytes that are alive now.
        levels: bytes that were alive after each operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: WeakSet[UntypedStorage] = WeakSet()
        self.level = 0
        self.levels: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.known.update(_storages((args, kwargs)))  # a storage that is first read is a weight
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage not in self.known:
                self.known.add(storage)
                self._add(storage.nbytes())
                finalize(storage, self._add, -storage.nbytes())
        self.levels.append(self.level)
        return result

    def _add(self, size_bytes: int) -> None:
        self.level += size_bytes


def _storages(tree: Any) -> list[UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
