"""What can go wrong, sorted by whose turn it is to act.

ConfigError   the user's input (a study, a path, a name): say what was asked, what was found, what to do
PluginError   a method or a task broke the contract: name it
Infeasible    the question has no answer: recorded as a row, not a crash
DiskError     the disk keeps nothing more: the run stops, what is stored stays whole
"""

LONGEST = 2000  # letters of a message


class BenchError(Exception):
    """Base of everything that prunebench raises on purpose; its text is one line for a person to read, whatever is quoted in it."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def one_line(text: str) -> str:
    """Text without line breaks and without letters that steer a terminal; of a long one the beginning and the end."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(short.split()))


class ConfigError(BenchError):
    """The user's input cannot be used."""


class PluginError(BenchError):
    """A method or a task broke the contract."""


class Infeasible(BenchError):
    """No network of the family fits the budget.

    Args:
        message: one line that names the budget and the least peak that is possible.
        least_bytes: the least planned peak that is possible, if it is known.
    """

    def __init__(self, message: str, least_bytes: int | None = None) -> None:
        super().__init__(message)
        self.least_bytes = least_bytes


class DiskError(BenchError, OSError):
    """The disk is full, read-only or broken, or a place may not be used: nothing that follows can be kept, so the run stops."""
