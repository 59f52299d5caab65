"""Records of a study made by hand: an unpruned network and three methods at three ratios."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bench.contract import Recipe
from bench.records import Cell, Record

MIB = 2**20
UNPRUNED_BYTES = 192 * MIB
GAINS = {"uniform, from scratch": 0.0, "uniform, sliced": -0.7, "mosp": 0.9}


def cell(label: str = "mosp", ratio: float = 0.5, seed: int = 0, **changes: Any) -> Cell:
    """Make a cell of the synthetic study; `changes` replaces fields."""
    default = Cell(
        task="denoising",
        task_options={},
        backbone="unet",
        backbone_options={"width": 8},
        method=label.split(",")[0],
        method_options={"row": label},
        label=label,
        method_source="s",
        data="embedded",
        data_fingerprint="f",
        convention="planned",
        measured_at=(1, 3, 1024, 2048),
        ratio=ratio,
        compute="matched",
        seed=seed,
        recipe=Recipe(pretrain_steps=6000, matched_steps=2700),
    )
    return replace(default, **changes)


def record(for_cell: Cell, **changes: Any) -> Record:
    """Make a finished record with plausible numbers; `changes` replaces fields."""
    ratio, seed = for_cell.ratio, for_cell.seed
    psnr_db = 30.0 + 3.0 * (ratio - 1) + GAINS.get(for_cell.label, 0.0) + 0.07 * (seed - 1)
    budget_bytes = int(ratio * UNPRUNED_BYTES)
    pretraining = {"pretrain": 6000} if "scratch" in for_cell.label else {}
    default = Record(
        for_cell,
        "done",
        budget_bytes=budget_bytes,
        peak_bytes=budget_bytes - seed * MIB,
        peak_bytes_eager=int(budget_bytes * 4 / 3),
        peak_step="d11",
        parameters=int(485_715 * ratio) + seed,
        macs=int(3e9 * ratio),
        means={"psnr_db": psnr_db, "ssim": 0.8 + psnr_db / 300},
        input_means={"psnr_db": 20.52, "ssim": 0.41},
        widths={"c11": 4},
        kept={"c11": [0, 1, 2, 3]},
        steps={"finetune": 2700} | pretraining,
        seconds={"finetune": 30.0},
        environment={"threads": 2},
    )
    return replace(default, **changes)


def study_cells(
    seeds: tuple[int, ...] = (0,), ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
) -> list[Cell]:
    """Make all cells, in the order of a study."""
    unpruned = [cell("unpruned", 1.0, seed) for seed in seeds]
    return unpruned + [
        cell(label, ratio, seed) for label in GAINS for ratio in ratios for seed in seeds
    ]


def study_records(seeds: tuple[int, ...] = (0,), **changes: Any) -> list[Record]:
    """Make all records; `changes` replaces fields."""
    return [record(for_cell, **changes) for for_cell in study_cells(seeds)]


def unfinished_record(for_cell: Cell, status: Any, reason: str) -> Record:
    """Make a record without numbers."""
    return Record(
        for_cell, status=status, reason=reason, budget_bytes=int(for_cell.ratio * UNPRUNED_BYTES)
    )


def scored_record(
    label: str, gains: Iterable[float], seed: int = 0, ratio: float = 0.5, names: str = "photo{}"
) -> Record:
    """Make a record whose photographs have 30, 31, ... dB, each plus a gain."""
    photos = {
        names.format(index): {"psnr_db": 30.0 + index + float(gain), "ssim": 0.9}
        for index, gain in enumerate(gains)
    }
    return record(cell(label, ratio, seed), scores={"set": photos})
