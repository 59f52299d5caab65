"""Record one forward pass as a tape of calls, in order.

A call is one of a torch function, a tensor method or a leaf module of torch.nn. Nothing is traced
symbolically, so that operators in place (`+=` too) are in place on the tape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


@dataclass(frozen=True)
class Ref:
    """The number of a value on the tape; a tensor that is written in place stays the same value."""

    number: int


@dataclass(frozen=True)
class Op:
    """One call: `call(*args, **kwargs)` with Refs for values, and the Refs of its results."""

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any

    @property
    def kind(self) -> str:
        """Name of the function, or of the torch.nn class whose forward function a layer uses."""
        return (
            type(self.call).forward.__qualname__.split(".")[0]
            if isinstance(self.call, nn.Module)
            else self.call.__name__
        )

    def reads(self) -> list[int]:
        """Return the numbers of the values that the call reads, in argument order."""
        return numbers((self.args, self.kwargs))

    def run(self, values: dict[int, Any]) -> Any:
        """Call again, with these values in place of Refs."""
        args, kwargs = tree_map(
            lambda leaf: values[leaf.number] if isinstance(leaf, Ref) else leaf,
            (self.args, self.kwargs),
        )
        return self.call(*args, **kwargs)


def numbers(tree: Any) -> list[int]:
    """Return the numbers of all Refs in nested arguments, each once."""
    return list(dict.fromkeys(leaf.number for leaf in tree_leaves(tree) if isinstance(leaf, Ref)))


def tensors(tree: Any) -> list[Tensor]:
    """Return all tensors in nested results."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Tape(TorchFunctionMode):
    """Records the operators of one forward pass.

    Args:
        model: the network.
        inputs: of the network; they are the values 0, 1, ...

    Attributes:
        constants: number -> tensor that no operator made (a weight, a buffer).
        result: what the network returned, with Refs in place of values.
    """

    def __init__(self, model: nn.Module, inputs: list[Tensor]) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.constants: dict[int, Tensor] = {}
        self.names = {module: name for name, module in model.named_modules()}
        # Holds every tensor, so that no id is used twice.
        self.known = {id(x): (Ref(number), x) for number, x in enumerate(inputs)}
        self.is_inside_call = False
        call = nn.Module.__call__

        def call_module(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_leaf(module):
                return self.record(module, self.names[module], call, (module, *args), kwargs)
            return call(module, *args, **kwargs)

        with self, patch.object(nn.Module, "__call__", call_module):
            result = model(*inputs)
        self.result = tree_map(self.ref, result)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.record(func, func.__name__, func, args, kwargs or {})

    def record(self, what: Any, name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call, and record the call unless it is part of another one or returns no tensor."""
        if self.is_inside_call:
            return call(*args, **kwargs)
        self.is_inside_call = True
        out = call(*args, **kwargs)
        self.is_inside_call = False
        if tensors(out):
            read = tree_map(self.ref, (args[1:] if isinstance(what, nn.Module) else args, kwargs))
            for tensor in tensors(out):
                self.known.setdefault(id(tensor), (Ref(len(self.known)), tensor))
            self.ops.append(Op(name, what, *read, tree_map(self.ref, out)))
        return out

    def ref(self, leaf: Any) -> Any:
        """Return the Ref of a tensor; a tensor that is not known yet is a constant."""
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) not in self.known:
            ref = Ref(len(self.known))
            self.known[id(leaf)] = (ref, leaf)
            self.constants[ref.number] = leaf
        return self.known[id(leaf)][0]


def is_leaf(module: nn.Module) -> bool:
    """Return whether a module uses the forward function of a torch.nn layer."""
    return (type(module).forward.__module__ or "").startswith("torch.nn.") and not isinstance(
        module, nn.Sequential
    )
