"""A study's records made by hand: an unpruned network and three methods at three ratios, with any number of seeds."""

from dataclasses import replace
from typing import Any

from bench.contract import Recipe
from bench.records import Cell, Record

MIB = 2**20
FULL = 192 * MIB
GAINS = {"uniform, from scratch": 0.0, "uniform, sliced": -0.7, "mosp": 0.9}


def cell(label: str = "mosp", ratio: float = 0.5, seed: int = 0, **changes: Any) -> Cell:
    """One question of the synthetic study."""
    question = Cell(
        "denoising", {}, "unet", {"width": 8}, label.split(",")[0], {"row": label}, label, method_source="s",
        data="embedded", data_fingerprint="f", convention="planned", measured_at=(1, 3, 1024, 2048), ratio=ratio,
        compute="matched", seed=seed, recipe=Recipe(pretrain_steps=6000, matched_steps=2700),
    )  # fmt: skip
    return replace(question, **changes)


def record(of: Cell, **changes: Any) -> Record:
    """A finished answer with plausible numbers; `changes` replaces fields."""
    psnr_db = 30.0 + 3.0 * (of.ratio - 1) + GAINS.get(of.label, 0.0) + 0.07 * (of.seed - 1)
    budget_bytes = int(of.ratio * FULL)
    answer = Record(
        of, "done", budget_bytes=budget_bytes, peak_bytes=budget_bytes - of.seed * MIB, peak_bytes_eager=int(budget_bytes * 4 / 3),
        peak_step="d11", parameters=int(485_715 * of.ratio) + of.seed, macs=int(3e9 * of.ratio),
        means={"psnr_db": psnr_db, "ssim": 0.8 + psnr_db / 300}, input_means={"psnr_db": 20.52, "ssim": 0.41},
        widths={"c11": 4}, kept={"c11": [0, 1, 2, 3]}, steps={"finetune": 2700} | ({"pretrain": 6000} if "scratch" in of.label else {}),
        seconds={"finetune": 30.0}, environment={"threads": 2},
    )  # fmt: skip
    return replace(answer, **changes)


def study_cells(
    seeds: tuple[int, ...] = (0,), ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
) -> list[Cell]:
    """All cells, in the order of a study."""
    unpruned = [cell("unpruned", 1.0, seed) for seed in seeds]
    return unpruned + [
        cell(label, ratio, seed) for label in GAINS for ratio in ratios for seed in seeds
    ]


def study_records(seeds: tuple[int, ...] = (0,), **changes: Any) -> list[Record]:
    """All records."""
    return [record(each, **changes) for each in study_cells(seeds)]


def refused(of: Cell, status: Any, reason: str) -> Record:
    """An answer without numbers."""
    return Record(of, status=status, reason=reason, budget_bytes=int(of.ratio * FULL))
