"""One forward pass as a tape: every call of a torch function, a tensor method or a leaf module of torch.nn, in order.

Nothing is traced symbolically, so that what is written in place (`+=` too) is in place on the tape.
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
    """The place of a value on the tape; a tensor that is written in place stays the same value."""

    number: int


@dataclass(frozen=True)
class Op:
    """One call: `call(*args, **kwargs)` with Refs in place of values, and the Refs of what it returned."""

    name: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any

    @property
    def kind(self) -> str:
        """Name of the function, or of the class of torch.nn whose computation a layer does."""
        return (
            type(self.call).forward.__qualname__.split(".")[0]
            if isinstance(self.call, nn.Module)
            else self.call.__name__
        )

    def reads(self) -> list[int]:
        """Numbers of the values that are read, in the order of the arguments."""
        return numbers((self.args, self.kwargs))

    def run(self, values: dict[int, Any]) -> Any:
        args, kwargs = tree_map(
            lambda leaf: values[leaf.number] if isinstance(leaf, Ref) else leaf,
            (self.args, self.kwargs),
        )
        return self.call(*args, **kwargs)


def numbers(tree: Any) -> list[int]:
    return list(dict.fromkeys(leaf.number for leaf in tree_leaves(tree) if isinstance(leaf, Ref)))


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class Tape(TorchFunctionMode):
    """Records the operators of one forward pass.

    Args:
        inputs: of the network; they are the values 0, 1, ...
        constants: number -> tensor that no operator made (a weight, a buffer).
        result: what the network returned, with Refs in place of values.
    """

    def __init__(self, model: nn.Module, inputs: list[Tensor]) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self.constants: dict[int, Tensor] = {}
        self.names = {module: name for name, module in model.named_modules()}
        self.known = {
            id(x): (Ref(number), x) for number, x in enumerate(inputs)
        }  # holds every tensor, so that no id is used twice
        self.inside = False
        call = nn.Module.__call__

        def recorded(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return (
                self.write(module, self.names[module], call, (module, *args), kwargs)
                if is_leaf(module)
                else call(module, *args, **kwargs)
            )

        with self, patch.object(nn.Module, "__call__", recorded):
            result = model(*inputs)
        self.result = tree_map(self.ref, result)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.write(func, func.__name__, func, args, kwargs or {})

    def write(self, what: Any, name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Does a call, and records it unless it is part of another one or gives no tensor."""
        if self.inside:
            return call(*args, **kwargs)
        self.inside = True
        out = call(*args, **kwargs)
        self.inside = False
        if tensors(out):
            read = tree_map(self.ref, (args[1:] if isinstance(what, nn.Module) else args, kwargs))
            for tensor in tensors(out):
                self.known.setdefault(id(tensor), (Ref(len(self.known)), tensor))
            self.ops.append(Op(name, what, *read, tree_map(self.ref, out)))
        return out

    def ref(self, leaf: Any) -> Any:
        """The Ref of a tensor; a tensor that is not known yet is a constant."""
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) not in self.known:
            ref = Ref(len(self.known))
            self.known[id(leaf)] = (ref, leaf)
            self.constants[ref.number] = leaf
        return self.known[id(leaf)][0]


def is_leaf(module: nn.Module) -> bool:
    """Whether a module computes what a layer of torch.nn computes; a subclass may set it up."""
    return (type(module).forward.__module__ or "").startswith("torch.nn.") and not isinstance(
        module, nn.Sequential
    )
