"""prunebench fit: what makes a network fit a budget."""

import json
import re
from pathlib import Path

import pytest
import torch

from bench.cli.main import main

NETWORK = ["fit", "unet", "--width", "4", "--set", "levels=2", "--shape", "1x3x128x96"]


def test_fit_prints_the_whole_image_and_the_front(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NETWORK, "--memory", "450KiB"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("unet at 1x3x128x96 within 0.4 MiB, convention planned")
    assert lines[3].startswith("unpruned") and lines[3].endswith(" does not fit")
    rest = lines[4 : lines.index("", 4)]
    assert rest and all(line.endswith(" fits") and " ~" in line for line in rest)
    assert any(line.startswith("pruned to 0.") for line in rest)
    assert any(line.startswith("Ways not shown: ") for line in lines)


def test_fit_as_json_has_ways_that_keep_to_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NETWORK, "--memory", "460KiB", "--halo", "2", "--json"]) == 0
    ways = json.loads(capsys.readouterr().out)
    fitting = [way for way in ways if not way["obstacle"]]
    assert {way["precision"] for way in fitting} == {"float32", "bfloat16"}
    assert all(way["peak_bytes"] <= 460 * 2**10 for way in fitting)
    assert any(way["is_on_front"] for way in fitting) and len(fitting) < len(ways)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "20KiB"], "the least is 0.1 MiB .*input and output alone take 0.3 MiB"),
        (["--memory", "450KiB", "--seconds", "1e-9"], "in 1e-09 s: the fastest takes .* more time"),
        (
            ["--memory", "200"],
            "200 is not a size above 0 in KiB, MiB or GiB; write for example 200MiB",
        ),
        (["--memory", "0MiB", "--data", "embedded"], "0MiB is not a size above 0"),
        (["--memory", "1MiB", "--out", "net"], "--out and --steps are .* give --data too"),
        (["--memory", "1MiB", "--shape", "1x3x128"], "not of the form NxCxHxW"),
        (["--memory", "1MiB", "--task", "nonsense"], "unknown task 'nonsense'"),
        (["--memory", "1MiB", "--data", "nowhere"], "nowhere"),
        (["--memory", "1MiB", "--data", "embedded", "--method", "mops"], "mosp"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*NETWORK, *arguments]) == 2
    found = capsys.readouterr()
    assert not found.out and found.err.count("\n") == 1
    assert re.search(message, found.err)


def test_with_data_the_best_network_is_saved_and_the_lines_that_run_it_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["fit", "small_unet", "--task", "fake", "--width", "4", "--set", "levels=2"]
    words += ["--shape", "1x3x64x64", "--memory", "60KiB", "--data", "fake", "--steps", "1"]
    assert main([*words, "--out", "net"]) == 0
    text = capsys.readouterr().out
    assert "chosen: " in text and "trained for 2 steps" in text
    names = {"image": torch.rand(1, 3, 64, 64)}
    if "torch.bfloat16" in text:
        names["image"] = names["image"].bfloat16()
    exec(text[text.index("import torch") :], names)
    assert names["restored"].shape == (1, 3, 64, 64)


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
