"""The options of the harness in a row of a study: how the row runs its network."""

from dataclasses import asdict, fields
from typing import Any

from bench.errors import ConfigError
from bench.plugins.options import configure
from bench.plugins.registry import METHODS
from bench.records import UNPRUNED, RunOptions


def take_run_options(method: str, options: dict[str, Any], label: str) -> dict[str, Any]:
    """Remove the options of the harness from those of a row; return those that are set.

    A method that has an option of the same name keeps it.

    Args:
        method: name of the method.
        options: of the row; changed in place.
        label: of the row, for messages.

    Raises:
        ConfigError: an option has another type, is out of range, or lacks another option.
    """
    method_class: Any = METHODS.get(method)
    methods_own = {entry.name for entry in fields(method_class)}
    given = {
        entry.name: options.pop(entry.name)
        for entry in fields(RunOptions)
        if entry.name in options and entry.name not in methods_own
    }
    values = configure(RunOptions, given, f"row '{label}'")
    if method == UNPRUNED and values.prune_ratio is not None:
        raise ConfigError(f"row '{label}': nothing is pruned; leave prune_ratio out")
    if method != UNPRUNED and values.tiles and values.prune_ratio is None:
        raise ConfigError(
            f"row '{label}' prunes and runs in tiles; say with prune_ratio to which share of the "
            "unpruned peak it prunes, such as prune_ratio = 0.5"
        )
    defaults = asdict(RunOptions())
    return {name: value for name, value in asdict(values).items() if value != defaults[name]}
