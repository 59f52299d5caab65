"""What a user gets wrong: one line, exit code 2, nothing written."""

import re
from pathlib import Path

import numpy
import pytest
from PIL import Image

from bench.cli import main


def _pairs(folder: Path, count: int = 2, pixels: int = 64) -> Path:
    """A folder of real-looking pairs."""
    rng = numpy.random.default_rng(0)
    for side in ("train/noisy", "train/clean", "val/noisy", "val/clean"):
        (folder / side).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (pixels, pixels, 3), dtype="uint8")).save(folder / side / f"{index}.png")
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


def _refused(words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command is answered with; it wrote nothing."""
    before = sorted(workplace.rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1 and printed.err.startswith("prunebench: ")
    assert sorted(workplace.rglob("*")) == before
    return printed.err


@pytest.mark.parametrize(
    ("spoil", "names"), [(_empty, "no photographs|empty|no image"), (_mismatch, "other"), (_truncate, "1.png"), (_shrink, "16 x 16")]
)
def test_photographs_that_cannot_be_used(spoil, names: str, tmp_path: Path, monkeypatch, capsys) -> None:
    spoil(_pairs(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert re.search(names, _refused(["run", "smoke", "--data", "data"], tmp_path, capsys))


@pytest.mark.parametrize(
    ("change", "names"),
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
def test_studies_that_cannot_be_run(change: str, names: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert names in _refused(["run", "smoke", "--set", change], tmp_path, capsys)


def test_a_study_that_is_no_toml_names_the_line(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "broken.toml").write_text('tasks = ["denoising"]\nratios = [0.5\nseeds = 1\n')
    monkeypatch.chdir(tmp_path)
    assert "line 3" in _refused(["run", "broken.toml"], tmp_path, capsys)
