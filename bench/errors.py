"""The errors of prunebench, one class for each way to handle them.

ConfigError   the user must change an input (a study, a path, a name); the message says what was
              asked, what was found and what to do
PluginError   a method or a task broke the contract; the message names it
Infeasible    no network fits the budget; it is stored as a row of the table, not raised to the user
DiskError     the disk cannot store more; the run stops, and what it stored before stays whole
"""

import difflib
from collections.abc import Iterable

MAX_MESSAGE_LENGTH = 2000  # characters


class BenchError(Exception):
    """Base class of all errors that prunebench raises on purpose; the message is one line."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, shortened in the middle."""
    half = MAX_MESSAGE_LENGTH // 2
    short = text if len(text) <= MAX_MESSAGE_LENGTH else f"{text[:half]} ... {text[-half:]}"
    return printable(" ".join(short.split()))


def printable(text: str) -> str:
    """Return the text with "?" for each character that may command a terminal, as ESC does."""
    return "".join(c if c.isprintable() else "?" for c in text)


def match_name(name: str, known: Iterable[str]) -> str:
    """Return the only known name that differs in upper and lower case alone, else the name."""
    names = list(known)
    matches = [other for other in names if other.casefold() == name.casefold()]
    return matches[0] if len(matches) == 1 and name not in names else name


def describe_unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name: the name, the nearest known one, all known ones."""
    names = sorted(known)
    folded = {other.casefold(): other for other in names}
    nearest = difflib.get_close_matches(name.casefold(), folded, n=1)
    guess = f"did you mean '{folded[nearest[0]]}'? " if nearest else ""
    return f"unknown {kind} '{name}'; {guess}known: {', '.join(names) or 'none'}"


class ConfigError(BenchError):
    """The user's input cannot be used."""


class PluginError(BenchError):
    """A method or a task broke the contract."""


class Infeasible(BenchError):
    """No network that the method can make fits the budget.

    Args:
        message: one line with the budget and the least possible peak memory.
        least_bytes: the least possible peak memory in bytes ("planned"), None if unknown.
    """

    def __init__(self, message: str, least_bytes: int | None = None) -> None:
        super().__init__(message)
        self.least_bytes = least_bytes


class DiskError(BenchError, OSError):
    """The disk is full, read-only or broken, or a path may not be accessed; the run must stop."""
