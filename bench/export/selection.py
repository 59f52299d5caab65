"""Selection of one saved network for a command.

The user names the folder of a saved network, or a run and the row, ratio and seed of its network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.export import saved
from bench.files import checked_json
from bench.records import SCHEMA, Record
from bench.study.store import READ_ERRORS, Store
from bench.units import parse_shapes

MAX_SUGGESTIONS = 6


@dataclass(frozen=True)
class SelectedNetwork:
    """A saved network, its name in messages, and the input (N, C, H, W) at which it is measured."""

    name: str
    model: nn.Module
    shape: Inputs


def holds_network(folder: Path) -> bool:
    """Return whether a folder is that of one saved network."""
    return (folder / saved.SPEC).is_file()


def select_network(
    folder: Path,
    row: str | None = None,
    ratio: float | None = None,
    seed: int | None = None,
    shape: str | None = None,
) -> SelectedNetwork:
    """Load one saved network.

    Args:
        folder: of a saved network, or of a run.
        row: label of the cell in a run; may be omitted, like ratio and seed, if one cell matches.
        ratio: of the cell.
        seed: of the cell.
        shape: the input, for example "1x3x1024x2048"; by default that of its record.

    Raises:
        ConfigError: no network matches, several do, or no input is known.
    """
    if holds_network(folder):
        record = read_record(folder)
        recorded = None if record is None else record.cell.measured_at
        measured_at = _parse_input(shape) if shape else recorded
        if measured_at is None:
            raise ConfigError(
                f"{folder} does not say at which input its network is measured; "
                "give it, for example --shape 1x3x1024x2048"
            )
        return SelectedNetwork(folder.name, saved.load(folder), measured_at)
    store = Store(folder)
    record = _select_record([record for record, _ in store.networks()], folder, row, ratio, seed)
    name = f"{record.cell.label}, ratio {record.cell.ratio:g}, seed {record.cell.seed}"
    return SelectedNetwork(
        name,
        saved.load(store.model_folder(record.key)),
        _parse_input(shape) if shape else record.cell.measured_at,
    )


def _select_record(
    records: Sequence[Record], folder: Path, row: str | None, ratio: float | None, seed: int | None
) -> Record:
    """Return the only record that matches; raise ConfigError with suggestions otherwise."""
    arguments = {"--row": row, "--ratio": ratio, "--seed": seed}
    fields = {"--row": "label", "--ratio": "ratio", "--seed": "seed"}
    given = {flag: value for flag, value in arguments.items() if value is not None}
    matches = [
        record
        for record in records
        if all(getattr(record.cell, fields[flag]) == value for flag, value in given.items())
    ]
    if len(matches) == 1:
        return matches[0]
    words = " ".join(f"{flag} {value}" for flag, value in given.items())
    offered = matches or records
    suggestions = "; ".join(
        f'--row "{record.cell.label}" --ratio {record.cell.ratio:g} --seed {record.cell.seed}'
        for record in offered[:MAX_SUGGESTIONS]
    )
    more = f" and {len(offered) - MAX_SUGGESTIONS} more" if len(offered) > MAX_SUGGESTIONS else ""
    found = (
        f"{len(matches)} networks of {folder} match {words}"
        if words
        else (f"{folder} holds {len(records)} networks")
    )
    raise ConfigError(f"{found}; choose one of: {suggestions or 'none'}{more}")


def read_record(folder: Path) -> Record | None:
    """Return the record of a saved network; None without one.

    It lies in the folder of the network, or in the run that the folder belongs to.

    Raises:
        ConfigError: it is damaged.
    """
    if not (folder / "record.json").is_file():
        return Store(folder.resolve().parent.parent).read(folder.resolve().name)
    try:
        return Record.from_json(checked_json.read(folder / "record.json", SCHEMA))
    except READ_ERRORS as error:
        raise ConfigError(
            f"{folder / 'record.json'} is damaged, or not the record of a network: {error!r}"
        ) from error


def _parse_input(shape: str) -> Inputs:
    shapes = parse_shapes(shape)
    return shapes[0] if len(shapes) == 1 else shapes
