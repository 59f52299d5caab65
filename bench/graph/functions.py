"""Functions that traced networks call where Python has a statement and no function."""

from typing import Any

from torch import Tensor


def set_item(x: Tensor, index: Any, content: Any) -> Tensor:
    """Assign to a part of a tensor and return the tensor: `x[index] = content`."""
    x[index] = content
    return x
