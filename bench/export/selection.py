"""One saved network that a command is about: a folder that holds it, or a run and the row, ratio and seed that single it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.export import saved
from bench.files import checked_json
from bench.records import SCHEMA, Record
from bench.study.store import MALFORMED, Store
from bench.units import parse_shapes

SHOWN = 6


@dataclass(frozen=True)
class Chosen:
    """A saved network, its name for people, and the input (N, C, H, W) at which it is measured."""

    name: str
    model: nn.Module
    shape: Inputs


def holds_network(folder: Path) -> bool:
    """Whether a folder is that of one saved network."""
    return (folder / saved.SPEC).is_file()


def chosen(
    folder: Path,
    row: str | None = None,
    ratio: float | None = None,
    seed: int | None = None,
    shape: str | None = None,
) -> Chosen:
    """The network that is asked for.

    Args:
        folder: of a saved network, or of a run.
        row, ratio, seed: which of a run's; what is not given must not matter.
        shape: "1x3x1024x2048"; by default what its record says.

    Raises:
        ConfigError: there is no such network, or there are several; no input is known.
    """
    if holds_network(folder):
        known = _measured_at(folder)
        if not shape and known is None:
            raise ConfigError(
                f"{folder} does not say at which input its network is measured; give it, for example --shape 1x3x1024x2048"
            )
        return Chosen(folder.name, saved.load(folder), _parsed(shape) if shape else known)  # type: ignore[arg-type]
    store = Store(folder)
    record = _only(
        [one for one in store.records() if store.model_folder(one.key).is_dir()],
        folder,
        row,
        ratio,
        seed,
    )
    name = f"{record.cell.label}, ratio {record.cell.ratio:g}, seed {record.cell.seed}"
    return Chosen(
        name,
        saved.load(store.model_folder(record.key)),
        _parsed(shape) if shape else record.cell.measured_at,
    )


def _only(
    records: Sequence[Record], folder: Path, row: str | None, ratio: float | None, seed: int | None
) -> Record:
    """The one record that agrees. Raises ConfigError with what there is."""
    asked = {"--row": row, "--ratio": ratio, "--seed": seed}
    fields = {"--row": "label", "--ratio": "ratio", "--seed": "seed"}
    given = {flag: value for flag, value in asked.items() if value is not None}
    found = [
        record
        for record in records
        if all(getattr(record.cell, fields[flag]) == value for flag, value in given.items())
    ]
    if len(found) == 1:
        return found[0]
    words = " ".join(f"{flag} {value}" for flag, value in given.items()) or "no further word"
    offered = found or records
    some = "; ".join(
        f'--row "{one.cell.label}" --ratio {one.cell.ratio:g} --seed {one.cell.seed}'
        for one in offered[:SHOWN]
    )
    more = f" and {len(offered) - SHOWN} more" if len(offered) > SHOWN else ""
    raise ConfigError(
        f"{len(found)} networks of {folder} are meant by {words}, and one is needed; there are: {some or 'none'}{more}"
    )


def _measured_at(folder: Path) -> Inputs | None:
    """What the record beside a network says: in its folder, or in the run that it lies in."""
    if not (folder / "record.json").is_file():
        record = Store(folder.resolve().parent.parent).read(folder.resolve().name)
        return None if record is None else record.cell.measured_at
    try:
        return Record.from_json(checked_json.read(folder / "record.json", SCHEMA)).cell.measured_at
    except MALFORMED as error:
        raise ConfigError(
            f"{folder / 'record.json'} is damaged, or not the record of a network: {error!r}"
        ) from error


def _parsed(shape: str) -> Inputs:
    shapes = parse_shapes(shape)
    return shapes[0] if len(shapes) == 1 else shapes
