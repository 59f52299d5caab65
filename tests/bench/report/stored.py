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


def make_store(folder: Path, seeds: tuple[int, ...] = (0,), pending: int = 0) -> Store:
    """Make a store with all records but the last `pending` ones.

    Each record has ten scored photographs, and the crops of one of them.
    """
    store = Store(folder)
    cells = study_cells(seeds)
    store.write_study("by-hand", cells, "prunebench run by-hand --seeds 0")
    for cell in cells[: len(cells) - pending]:
        store.write(_make_record(cell))
        write_crops = crop_writer(FakeTask(), *store.crop_folders(cell))
        pair = Pair(PHOTO, torch.rand(3, 40, 40), torch.rand(3, 40, 40))
        write_crops(SET, pair, torch.full((3, 40, 40), cell.ratio))
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
