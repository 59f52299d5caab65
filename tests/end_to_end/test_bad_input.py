"""Mistakes of a user: each is one line and exit code 2, and nothing is written."""

import re
from pathlib import Path

import numpy
import pytest
from PIL import Image

from bench.cli.main import main


def _pairs(folder: Path, count: int = 2, pixels: int = 64) -> Path:
    """Write a folder of pairs of noise photographs."""
    rng = numpy.random.default_rng(0)
    for side in ("train/noisy", "train/clean", "val/noisy", "val/clean"):
        (folder / side).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (pixels, pixels, 3), dtype="uint8")).save(
                folder / side / f"{index}.png"
            )
    return folder


def _empty(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.unlink()


def _mismatch(folder: Path) -> None:
    (folder / "val/clean/1.png").rename(folder / "val/clean/other.png")


def _truncate(folder: Path) -> None:
    path = folder / "val/noisy/1.png"
    path.write_bytes(path.read_bytes()[:2000])


def _shrink(folder: Path) -> None:
    for side in ("noisy", "clean"):
        Image.new("RGB", (16, 16)).save(folder / f"train/{side}/0.png")


def _run_and_fail(words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that fails without writing anything; return its line on stderr."""
    before = sorted(workplace.rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1 and printed.err.startswith("prunebench: ")
    assert sorted(workplace.rglob("*")) == before
    return printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data", "check", "data", "--task", "low_light"],
            "looks like your own pairs, noisy and clean, which task denoising reads",
        ),
        (
            ["data", "check", "data", "--task", "denoise"],
            "unknown task 'denoise'; did you mean 'denoising'",
        ),
        (
            ["data", "check", "nowhere", "--task", "denoising"],
            "data folder 'nowhere' does not exist",
        ),
        (
            ["data", "check", "data/train", "--task", "denoising"],
            "did you mean .*data, which looks like your own pairs",
        ),
        (
            ["run", "table1_paper"],
            "data folder 'SIDD' does not exist; give 'embedded' or a folder of .*SIDD-Medium",
        ),
    ],
)
def test_a_wrong_folder_or_task_is_told_with_the_right_one(
    words: list[str], message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    _pairs(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert re.search(message, _run_and_fail(words, tmp_path, capsys))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_empty, "no photographs|empty|no image"),
        (_mismatch, "other"),
        (_truncate, "1.png"),
        (_shrink, "16 x 16"),
    ],
)
def test_photographs_that_cannot_be_used(
    spoil, message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    spoil(_pairs(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    error = _run_and_fail(["run", "smoke", "--data", "data"], tmp_path, capsys)
    assert re.search(message, error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('methods=["msop"]', "did you mean 'mosp'"),
        ('tasks=["denoise"]', "did you mean 'denoising'"),
        ("ratois=[0.5]", "did you mean 'ratios'"),
        ("ratios=[0.0]", "outside (0, 1]"),
        ("ratios=[1.01]", "outside (0, 1]"),
        ('measured_at="1x3x100x100"', "does not accept an input of 1x3x100x100"),
        ('options.mosp.outer_stride="a lot"', "outer_stride"),
        ("options.mosp.compactors=3", "true or false"),
    ],
)
def test_studies_that_cannot_be_run(
    change: str, message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in _run_and_fail(["run", "smoke", "--set", change], tmp_path, capsys)


def test_a_study_that_is_no_toml_names_the_line(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "broken.toml").write_text('tasks = ["denoising"]\nratios = [0.5\nseeds = 1\n')
    monkeypatch.chdir(tmp_path)
    assert "line 3" in _run_and_fail(["run", "broken.toml"], tmp_path, capsys)


NETS = """
import torch
from torch import nn

def build(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3))

class Sorted(nn.Module):
    def forward(self, x):
        return torch.linalg.qr(x)

def broken():
    raise RuntimeError("two\\nlines")

class Nothing(nn.Module):
    def forward(self, x):
        return x

class Constant(nn.Module):
    def forward(self, x):
        return x + torch.FloatTensor([1.0])


def mismatched():
    layer = nn.Conv2d(3, 3, 3)
    layer.load_state_dict(nn.Conv2d(3, 5, 3).state_dict())
    return layer
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "nets.py:build",
            "nets.py:build needs an input to be measured at; give it, "
            "for example --shape 1x3x256x256, or its --task",
        ),
        ("nets.py:build --shape 3x64", "shape '3x64' is not of the form"),
        ("nets.py:build --shape 1x4x64x64", "does not accept an input of 1x4x64x64"),
        ("nets.py:build --shape 1x3x64x64 --plot net.bmp", "one of .png, .svg, .pdf"),
        (
            "nets.py:build --shape 1x3x64x64 --set height=3",
            "unknown option of nets.py:build 'height'",
        ),
        ("nets.py:biuld --shape 1x3x64x64", "did you mean 'build'"),
        (
            "nets.py:mismatched --shape 1x3x64x64",
            "Error(s) in loading state_dict for Conv2d: size mismatch for weight: copying a param",
        ),
        ("unet --shape 1x3x120x64", "accepts multiples of 16, such as 1x3x128x64"),
        ("nets.py:broken --shape 1x3x64x64", "raises RuntimeError in line 13 of nets.py: two"),
        ("nets.py:Sorted --shape 1x3x64x64", "'linalg_qr' (at linalg_qr, nets.py:10)"),
        ("nets.py:Nothing --shape 1x3x64x64", "allocates nothing"),
        (
            "nets.py:Constant --shape 1x3x64x64",
            "nets.py:21: it creates a constant tensor; register it as a buffer",
        ),
        (
            "nets.py:build --shape 1x3x64x64,1x3x8x8",
            "takes 1 inputs (input), and 2 shapes were given",
        ),
        ("nets.py --shape 1x3x64x64", "it offers Constant, Nothing, Sorted, broken, build"),
        ("nest.py:build --shape 1x3x64x64", "there is no file nest.py"),
    ],
)
def test_networks_of_the_users_own_that_cannot_be_measured(
    words: str, message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    assert message in _run_and_fail(["profile", *words.split()], tmp_path, capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--ratio 0.5 --shape 3x64", "shape '3x64' is not of the form"),
        (
            "--ratio 0.01 --shape 1x3x64x64",
            "not possible for unet at 1x3x64x64; the least, with one",
        ),
    ],
)
def test_prunings_that_cannot_be_are_refused_before_anything_is_trained(
    words: str, message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    arguments = ["prune", "mosp", "--backbone", "unet", *words.split()]
    assert message in _run_and_fail(arguments, tmp_path, capsys)
    assert not (tmp_path / "results").exists()
