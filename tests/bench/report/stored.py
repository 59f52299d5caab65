"""A run folder made by hand: the synthetic study with timelines and crops."""

from dataclasses import replace
from pathlib import Path

import torch

from bench.contract import Pair
from bench.memory.profile import timeline
from bench.records import Cell, Record
from bench.study.store import Store
from bench.training.sample_crops import crop_writer
from tests.bench.report.synthetic import record, study_cells
from tests.fakes import FakeTask, Tiny

SET, PHOTO = "photos", "<harbour> & sky"
SIZE = (60, 120)  # height and width; wider than a crop


def make_store(folder: Path, seeds: tuple[int, ...] = (0,), pending: int = 0) -> Store:
    """Make a store with all records but the last `pending` ones.

    Each record has ten scored photographs; one of them is stored, whole and as a crop.
    """
    store = Store(folder)
    cells = study_cells(seeds)
    store.write_study("by-hand", cells, "prunebench run by-hand --seeds 0")
    for cell in cells[: len(cells) - pending]:
        store.write(_make_record(cell))
        write_crops = crop_writer(FakeTask(), *store.crop_folders(cell))
        pair = Pair(PHOTO, torch.rand(3, *SIZE), torch.rand(3, *SIZE))
        write_crops(SET, pair, torch.full((3, *SIZE), cell.ratio))
    return store


def _make_record(cell: Cell) -> Record:
    plain = record(cell)
    steps = tuple(
        vars(step) for step in timeline(Tiny(max(1, int(8 * cell.ratio))), (1, 3, 32, 32))
    )
    photos = {
        name: dict(plain.means) for name in (PHOTO, *(f"photo {index}" for index in range(9)))
    }
    return replace(
        plain, timeline=steps, widths={"first": int(8 * cell.ratio)}, scores={SET: photos}
    )
