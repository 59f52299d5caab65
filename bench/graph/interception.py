"""What Python, torch and einops do differently while a network is traced at a shape.

The code of the network holds stand-ins (`bench.graph.values`) where it expects tensors and numbers.
"""

import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from bench.graph.source_location import is_user_file
from bench.graph.values import Number, ValueProxy


@contextmanager
def accept_stand_ins(call_module: Callable[..., Any]) -> Iterator[None]:
    """Let the code of a network work with stand-ins.

    Args:
        call_module: called with a layer, its forward function and its arguments, given and named.
    """

    def call(module: nn.Module, /, *args: Any, **kwargs: Any) -> Any:
        # torch.fx has a parameter "mod" here, and so may the layer
        return call_module(module, partial(_run_module, module), args, kwargs)

    _let_einops_accept_stand_ins()
    with (
        patch.object(nn.Module, "__setattr__", _assign),
        patch.object(nn.Module, "__call__", call),
        patch.object(builtins, "range", _count),
        patch.object(builtins, "isinstance", _is_instance),
        patch.object(torch, "is_tensor", _is_tensor),
        patch.object(torch.jit.ScriptFunction, "__call__", _run_source),
    ):
        yield


_run_module = nn.Module.__call__
_set_attribute = nn.Module.__setattr__


def _assign(module: nn.Module, name: str, value: Any) -> None:
    """Set an attribute, also if a stand-in replaces a parameter or a buffer."""
    if isinstance(value, Proxy):
        module._parameters.pop(name, None)
        module._buffers.pop(name, None)
    _set_attribute(module, name, value)


def _run_source(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Run the Python function that a scripted one was made from; that one takes no stand-ins."""
    return function._torchdynamo_inline(*args, **kwargs)


plain_range = range


def _count(*numbers: int) -> range:
    """Return a range; Python does not ask a kind of int for its value there."""
    return plain_range(*(n.settle() if isinstance(n, Number) else n for n in numbers))


_isinstance = isinstance


def _is_instance(found: Any, kinds: Any) -> bool:
    """Tell the code of a network, and no library, that a stand-in is what it stands for."""
    is_asked = type(found) is ValueProxy and is_user_file(sys._getframe(1).f_code.co_filename)
    return _isinstance(found.value if is_asked else found, kinds)


def _is_tensor(found: Any) -> bool:
    return _isinstance(found.value if type(found) is ValueProxy else found, Tensor)


def _let_einops_accept_stand_ins() -> None:
    """Let einops, if a network uses it, handle stand-ins as it handles tensors."""
    backends = sys.modules.get("einops._backends")
    if backends is not None:
        backends._type2backend[ValueProxy] = backends.get_backend(torch.empty(0))
