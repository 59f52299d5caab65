"""Find the line of the user's code behind an operator or an error, as text: ", net.py:12"."""

import inspect
import os
import traceback
from pathlib import Path

import torch
from torch.fx import Node

LIBRARY = f"{Path(torch.__file__).parent}{os.sep}"  # not that of "torchsr"
GENERATED = "<"  # "<eval_with_key>": the forward function that torch.fx writes
HERE = f"{Path(__file__).parent}{os.sep}"
EINOPS = f"{os.sep}einops{os.sep}"
TRACE = "trace"  # the method of a tracer


def first_user_line(error: BaseException) -> str:
    """Return the innermost line of the user's code that an exception passed through, or ""."""
    return _innermost_line(
        [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    )


def calling_user_line() -> str:
    """Return the innermost line of the user's code that is running now, or "".

    Frames outside of a trace do not count.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != TRACE:
        file = frame.f_code.co_filename
        if is_user_file(file):
            return f", {Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of(node: Node) -> str:
    """Return the line of the user's code of a node of a traced network, or ""."""
    line: str = node.meta.get("line", "")
    return line


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an exception."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def is_user_file(file: str) -> bool:
    """Return whether a file belongs neither to a library of tensors nor to this package."""
    return not file.startswith((LIBRARY, HERE, GENERATED)) and EINOPS not in file


def _innermost_line(lines: list[tuple[str, int]]) -> str:
    user = [(file, line) for file, line in lines if is_user_file(file)]
    return f", {Path(user[-1][0]).name}:{user[-1][1]}" if user else ""
