"""Where in the user's code something stands, in a few letters: ", net.py:12"."""

import re
import traceback
from pathlib import Path

import torch

LIBRARY = str(Path(torch.__file__).parent)
GENERATED = "<"  # "<eval_with_key>": the forward function that torch.fx writes
HERE = str(Path(__file__).parent)
LINE = re.compile(r'File "([^"]+)", line (\d+)')


def user_line(stack_trace: str) -> str:
    """The innermost line of a printed stack trace that is neither torch's nor ours; nothing if there is none."""
    return _innermost([(file, int(line)) for file, line in LINE.findall(stack_trace)])


def first_user_line(error: BaseException) -> str:
    """The innermost line of the user's that an exception came through; nothing if there is none."""
    return _innermost(
        [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    )


def first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def _innermost(lines: list[tuple[str, int]]) -> str:
    ours = [(file, line) for file, line in lines if not file.startswith((LIBRARY, HERE, GENERATED))]
    return f", {Path(ours[-1][0]).name}:{ours[-1][1]}" if ours else ""
