"""Run a network on meta tensors, which have shapes and no data."""

from contextlib import redirect_stderr
from copy import deepcopy
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from bench.contract import Shape


def copy_to_meta(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose weights are meta tensors, without copying any data."""
    attributes = (value for module in model.modules() for value in vars(module).values())
    plain = [value for value in attributes if isinstance(value, Tensor)]
    tensors = [*model.parameters(), *model.buffers(), *plain]
    shadows = [torch.empty_like(tensor, device="meta") for tensor in tensors]
    memo: dict[int, Any] = {
        id(tensor): nn.Parameter(shadow, tensor.requires_grad)
        if isinstance(tensor, nn.Parameter)
        else shadow
        for tensor, shadow in zip(tensors, shadows, strict=True)
    }
    return deepcopy(model, memo).eval()


def meta_inputs(
    model: nn.Module,
    shapes: tuple[Shape, ...],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> list[Tensor]:
    """Return inputs on the meta device, in the dtype of the network."""
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    return [
        torch.empty(shape, device="meta", dtype=dtype, memory_format=memory_format)
        for shape in shapes
    ]


def limit_shapes(model: nn.Module, shapes: tuple[Shape, ...], pixels: int) -> tuple[Shape, ...]:
    """Return the shapes of one image with at most so many pixels in height and width.

    A network that does not accept these gets the shapes as they are.
    """
    small = tuple((1, channels, min(h, pixels), min(w, pixels)) for _, channels, h, w in shapes)
    return small if accepts(model, small) else shapes


@torch.no_grad()
def accepts(model: nn.Module, shapes: tuple[Shape, ...]) -> bool:
    """Return whether a network runs on inputs of these shapes, by a run on meta tensors."""
    shadow = copy_to_meta(model)
    try:
        with redirect_stderr(StringIO()), torch.device("meta"):  # torch.fx prints where it fails
            shadow(*meta_inputs(shadow, shapes))
    except Exception:  # a network may raise anything
        return False
    return True


@torch.no_grad()
def run_nodes(
    shadow: nn.Module,
    shapes: tuple[Shape, ...],
    memory_format: torch.memory_format = torch.contiguous_format,
) -> dict[str, Any]:
    """Run a traced network node by node.

    Args:
        shadow: a GraphModule with meta weights, made by `copy_to_meta`.
        shapes: of the inputs.
        memory_format: of the inputs.

    Returns:
        Node name -> its result on meta tensors.
    """
    interpreter = _RecordingInterpreter(shadow)  # type: ignore[arg-type]
    with torch.device("meta"):  # of the tensors that forward creates
        interpreter.run(*meta_inputs(shadow, shapes, memory_format))
    return interpreter.results


class _RecordingInterpreter(Interpreter):
    """Keeps the result of every node."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.results: dict[str, Any] = {}

    def run_node(self, n: Node) -> Any:
        """Run one node and keep its result by its name."""
        self.results[n.name] = result = super().run_node(n)
        return result
