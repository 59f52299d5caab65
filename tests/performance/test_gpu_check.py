"""The check of a GPU runs on the CPU at tiny sizes, and writes what it measured."""

import sys
from pathlib import Path

import pytest

from tests.performance.gpu_check import main

SIZES = "--width 2 --patch 16 --batch 2 --steps 4 --no-tests"


def test_it_trains_measures_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpu.md"
    command = ["gpu_check", "--device", "cpu", *SIZES.split(), "--out", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    main()
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    answers = dict(line.strip("| ").split(" | ") for line in lines)
    assert answers["training"] == "4 steps at width 2, 16x16, batch 2"
    assert float(answers["steps per second"]) > 0
    measured, planned = (
        float(answers[f"peak of one image, {how}"].split()[0]) for how in ("measured", "planned")
    )
    assert 0 < planned <= measured


def test_a_device_that_is_missing_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "tpu", *SIZES.split()])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith("gpu-check: device 'tpu' is not available here")
