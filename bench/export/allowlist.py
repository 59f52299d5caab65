"""The names that a description of a network may use; all others are refused.

They are layers of torch.nn, functions, methods of tensors and attributes of tensors: the operators
in the table of the memory model (`bench.graph.operators`), as far as PyTorch has them by that name,
and arithmetic with sizes. A name in a description is only looked up here: nothing is imported by
name, and no attribute is followed by name.
"""

import builtins
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.graph import functions as graph_functions
from bench.graph.operators import CALLS, LAYERS

CALL_NAMES = {name.lstrip(".") for name in CALLS}
NAMES = frozenset(CALL_NAMES) | {f"{name}_" for name in CALL_NAMES}
SIZE_OPERATORS = {"floordiv", "mod", "pow", "neg"}  # needed only for arithmetic with sizes
MODULES = {
    "torch": (torch, NAMES),
    "functional": (functional, NAMES),
    "operator": (operator, NAMES | SIZE_OPERATORS),
    "graph": (graph_functions, NAMES),
    "vf": (torch._VF, NAMES),  # what functions of torch call where they are given a list
}
FOURIER = {
    f"fft.{name}": getattr(torch.fft, name) for name in dir(torch.fft) if f"fft_{name}" in CALLS
}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"{prefix}.{name}": getattr(module, name)
    for prefix, (module, names) in MODULES.items()
    for name in sorted(names)
    if hasattr(module, name)
} | {
    "builtins.getattr": builtins.getattr,
    "builtins.len": builtins.len,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "torch._assert": torch._assert,  # a check of the size of the input
    **FOURIER,
}
METHODS = frozenset(name for name in NAMES if hasattr(Tensor, name)) | {"size", "dim", "numel"}
ATTRIBUTES = frozenset(
    {"shape", "ndim", "dtype", "device", "T", "mT", "real", "imag", "values", "indices"}
)
LAYER_CLASSES: dict[str, type[nn.Module]] = {name: getattr(nn, name) for name in LAYERS}
DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "bool",
    )
}
MEMORY_FORMATS = {
    name: getattr(torch, name) for name in ("contiguous_format", "channels_last", "preserve_format")
}

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a value, an argument or a class
NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]")
# One step of a path such as "encoder.0.conv"; keys of a ModuleDict may have further characters.
PATH_STEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ +-]*")


def function_name(function: Any) -> str | None:
    """Return the name of an allowed function; None for any other function."""
    return next((name for name, allowed in FUNCTIONS.items() if allowed is function), None)
