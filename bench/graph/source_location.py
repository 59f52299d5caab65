"""Find the line of the user's code behind an operator or an error, as text: ", net.py:12"."""

import os
import re
import traceback
from pathlib import Path

import torch

LIBRARY = f"{Path(torch.__file__).parent}{os.sep}"  # not that of "torchsr"
GENERATED = "<"  # "<eval_with_key>": the forward function that torch.fx writes
HERE = f"{Path(__file__).parent}{os.sep}"
LINE = re.compile(r'File "([^"]+)", line (\d+)')


def user_line(stack_trace: str) -> str:
    """Return the innermost line of a printed stack trace outside torch and this package, or ""."""
    return _innermost_line([(file, int(line)) for file, line in LINE.findall(stack_trace)])


def first_user_line(error: BaseException) -> str:
    """Return the innermost line of the user's code that an exception passed through, or ""."""
    return _innermost_line(
        [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    )


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an exception."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def _innermost_line(lines: list[tuple[str, int]]) -> str:
    user = [(file, line) for file, line in lines if not file.startswith((LIBRARY, HERE, GENERATED))]
    return f", {Path(user[-1][0]).name}:{user[-1][1]}" if user else ""
