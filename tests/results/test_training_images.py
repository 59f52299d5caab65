"""Made images train as well as photographs: the stored rows, what the docs say of them, a run."""

import re
from pathlib import Path
from statistics import fmean

import pytest

from results.trials.training_images import SOURCES, train_and_score

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\w+) \| \d+ \|(.*)\| *([\d.]+) \|$", re.MULTILINE)
SHORT_DB = 0.2


def mean_psnr_db() -> dict[str, float]:
    """Source -> mean over photographs and seeds, of the stored rows."""
    rows = ROW.findall((ROOT / "results/trials/training_images.md").read_text("utf-8"))
    for _, photographs, mean in rows:
        assert fmean(map(float, photographs.split("|"))) == pytest.approx(float(mean), abs=0.011)
    return {
        source: fmean(float(mean) for trained_on, _, mean in rows if trained_on == source)
        for source in SOURCES
    }


def test_training_on_leaves_falls_short_of_photographs_by_less_than_two_tenths_of_a_decibel() -> (
    None
):
    psnr_db = mean_psnr_db()
    assert psnr_db["leaves"] > psnr_db["photographs"] - SHORT_DB


def test_the_page_of_the_data_says_what_the_rows_say() -> None:
    page = " ".join((ROOT / "docs/data.md").read_text("utf-8").split())
    psnr_db = mean_psnr_db()
    assert f"to {psnr_db['leaves']:.2f} dB in the mean of two seeds" in page
    assert f"its thirteen photographs to {psnr_db['photographs']:.2f} dB" in page


def test_a_training_gives_a_score_of_each_photograph() -> None:
    psnr_db = train_and_score("photographs", seed=0, steps=1, width=4)
    assert len(psnr_db) == 3 and min(psnr_db) > 0
