"""prunebench fit: ways to run a network within a budget, without training."""

import json
from pathlib import Path

import pytest

from bench.cli.main import main

NETWORK = ["fit", "unet", "--width", "4", "--set", "levels=2", "--shape", "1x3x128x96"]


def test_fit_prints_all_ways_and_whether_they_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NETWORK, "--memory", "450KiB"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("unet at 1x3x128x96 within 0.4 MiB, convention planned")
    assert [line.split("  ")[0] for line in lines[3:7]] == [
        "whole image",
        "exact tiles",
        "tiles, halo 8",
        "whole image",
    ]
    assert [line.endswith(" does not fit") for line in lines[3:7]] == [True, False, False, False]


def test_fit_as_json_has_ways_that_keep_to_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NETWORK, "--memory", "460KiB", "--halo", "2", "--json"]) == 0
    ways = json.loads(capsys.readouterr().out)
    fitting = [way for way in ways if not way["obstacle"]]
    assert {way["precision"] for way in fitting} == {"float32", "bfloat16"}
    assert all(way["peak_bytes"] <= 460 * 2**10 for way in fitting)
    assert fitting[0]["macs"] >= fitting[1]["macs"]


def test_fit_says_why_no_tiles_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NETWORK, "--memory", "100KiB"]) == 0
    assert "input and output alone take 0.3 MiB as float" in capsys.readouterr().out


@pytest.mark.parametrize("size", ["200", "0MiB", "-1MiB", "many"])
def test_a_size_of_memory_that_is_none_is_a_mistake(
    size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*NETWORK, f"--memory={size}"])
    assert "is not a size above 0; write for example 200MiB" in capsys.readouterr().err


def test_what_a_network_prints_is_not_in_the_json(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "loud.py"
    file.write_text(
        "from torch import nn\n\n\nclass Loud(nn.Conv2d):\n    def __init__(self):\n"
        "        super().__init__(3, 3, 3)\n\n    def forward(self, x):\n"
        "        print('loud')\n        return super().forward(x)\n"
    )
    main(["fit", f"{file}:Loud", "--memory", "1MiB", "--shape", "1x3x64x64", "--json"])
    found = capfd.readouterr()
    assert json.loads(found.out) and "loud" in found.err
