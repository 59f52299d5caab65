"""Functions that traced networks call where Python has a statement and no function."""

from typing import Any

import torch
from torch import Tensor


def set_item(x: Tensor, index: Any, content: Any) -> Tensor:
    """Assign to a part of a tensor, `x[index] = content`, and return the tensor.

    While gradients are computed it is a copy, unless `x` is a part of another tensor: what was
    computed from `x` before needs its old values.
    """
    if torch.is_grad_enabled() and x.requires_grad and not x._is_view():
        x = x.clone()
    x[index] = content
    return x
