"""The timeline as a picture: positions of bands, names, and reproducible files."""

import struct
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.memory.profile import profile
from bench.memory.timeline import MemoryProfile, TimeStep
from bench.report.timeline_plot import draw_timeline, stack_bands
from tasks.models.unet import UNet

SHAPE = (1, 3, 64, 64)
MIB = 2**20


def make_profile(timeline: list[dict[str, int]]) -> MemoryProfile:
    """Make a profile with these live values, in MiB, at its steps."""
    sized = [{name: size * MIB for name, size in live.items()} for live in timeline]
    steps = tuple(
        TimeStep(step, list(live)[-1], sum(live.values()), live) for step, live in enumerate(sized)
    )
    return MemoryProfile(SHAPE, "planned", steps, 10, 20)


WAITING = make_profile(
    [
        {"x": 1},
        {"x": 1, "skip": 4},
        {"skip": 4, "down": 2},
        {"skip": 4, "up": 2},
        {"skip": 4, "up": 2, "cat": 9},
        {"out": 1},
    ]
)


def test_a_value_that_waits_lies_level_below_all_others() -> None:
    bands = {band.name: band for band in stack_bands(WAITING)}
    assert bands["skip"].below == (0, 0, 0, 0) and bands["skip"].first == 1
    assert bands["x"].below == (0, 4 * MIB) and bands["cat"].below == (6 * MIB,)


@pytest.mark.parametrize("convention", ["planned", "eager"])
def test_the_bands_of_each_step_fill_its_bytes_without_gaps(convention) -> None:
    measured = profile(UNet(4), SHAPE, convention)
    for step in measured.timeline:
        here = [
            band
            for band in stack_bands(measured)
            if band.first <= step.step < band.first + len(band.below)
        ]
        parts = sorted((band.below[step.step - band.first], band.size_bytes) for band in here)
        tops = [low + size for low, size in parts]
        assert [low for low, _ in parts] == [0, *tops[:-1]] and tops[-1] == step.bytes


def test_the_picture_names_the_peak_and_what_waits_and_is_reproducible(tmp_path: Path) -> None:
    measured = profile(UNet(4), SHAPE)
    first, second = (
        draw_timeline("unet", measured, tmp_path / f"{name}.svg").read_text("utf-8")
        for name in "ab"
    )
    assert first == second
    for text in (
        f"in {measured.peak_step}",
        "alive at the peak",
        "waiting at other times",
        "unet at 1x3x64x64, convention planned",
    ):
        assert text in first
    assert all(f">{name}  " in first for name in measured.peak.live)


def test_two_hundred_steps_have_numbers_in_place_of_names_and_equal_peaks_are_counted(
    tmp_path: Path,
) -> None:
    drawn = draw_timeline(
        "nets/long.py:Net",
        make_profile([{f"value_{step}": 1 + step % 2} for step in range(200)]),
        tmp_path / "long.svg",
    ).read_text()
    assert "time step" in drawn and ">long.py:Net at " in drawn
    assert "2.0 MiB in value_1, first of 100 equal" in drawn and "value_150" not in drawn


@pytest.mark.parametrize("ending", ["png", "pdf", "PNG"])
def test_the_ending_chooses_the_format(ending: str, tmp_path: Path) -> None:
    content = draw_timeline("net", WAITING, tmp_path / f"bands.{ending}").read_bytes()
    assert content.startswith(b"%PDF" if ending == "pdf" else b"\x89PNG")
    if ending != "pdf":
        assert struct.unpack(">II", content[16:24]) == (1215, 594)


@pytest.mark.parametrize(
    ("name", "answer"),
    [("bands.gif", "one of .png, .svg, .pdf"), ("nowhere/bands.png", "there is no folder")],
)
def test_a_path_that_cannot_be_drawn_to_is_refused(name: str, answer: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=answer):
        draw_timeline("net", WAITING, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_keeps_its_end(tmp_path: Path) -> None:
    name = "module.encoder_level1.0.attention.project_out"
    assert "…" + name[-25:] in draw_timeline(
        "net", make_profile([{name: 1}]), tmp_path / "bands.svg"
    ).read_text("utf-8")
