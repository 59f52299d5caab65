"""prunebench profile: peak memory as text, JSON and a picture."""

import json
from pathlib import Path

import pytest
from torch import nn

from bench.cli.main import main

ONE_LAYER = """
from torch import nn

def build(width=2):
    return nn.Sequential(nn.Conv2d(3, width, 1))
"""
TWO_INPUTS = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(4, 3, 1)

    def forward(self, picture, mask):
        return self.only(torch.cat([picture, mask], 1))
"""
CROSSES = """
import torch
from torch import nn

class Crosses(nn.Module):
    def forward(self, x):
        return torch.cross(x, x, dim=1)
"""


def test_profile_as_json_has_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "unet", "--width", "4", "--shape", "1x3x64x64", "--json"]) == 0
    profile = json.loads(capsys.readouterr().out)
    assert {
        *("backbone", "shape", "convention", "peak_bytes", "peak_mib", "peak_step"),
        *("parameters", "macs", "timeline"),
    } <= set(profile)
    assert {"step", "op", "bytes", "live"} <= set(profile["timeline"][0])


def test_profile_takes_options_of_the_backbone_and_of_its_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["profile", "edsr", "--set", "scale=4", "--set", "blocks=2", "--width", "16", "--json"]
    assert main(words) == 0
    profile = json.loads(capsys.readouterr().out)
    assert (profile["shape"], profile["peak_bytes"]) == ("1x3x256x512", 20 * 16 * 4 * 256 * 512)
    assert main(["profile", "edsr", "--set", "scale=5"]) == 2
    assert capsys.readouterr().err == "prunebench: scale = 5 is not one of 2, 3, 4\n"


def test_profile_with_compactors_has_more_parameters_and_the_same_peak(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["profile", "unet", "--set", "width=4", "--shape", "1x3x64x64", "--json"]
    main(words)
    plain = json.loads(capsys.readouterr().out)
    main([*words, "--compactors"])
    compacted = json.loads(capsys.readouterr().out)
    assert compacted["peak_bytes"] == plain["peak_bytes"]
    assert compacted["parameters"] > plain["parameters"]


def test_profile_measures_a_network_of_the_users_own(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "net.py").write_text(ONE_LAYER)
    words = ["profile", "net.py:build", "--shape", "1x3x8x8"]
    assert main([*words, "--set", "width=5", "--json"]) == 0
    profile = json.loads(capsys.readouterr().out)
    assert (profile["backbone"], profile["peak_bytes"]) == ("net.py:build", 4 * 8 * 8 * (3 + 5))
    assert main([*words, "--top", "1"]) == 0
    assert "net.py:build at 1x3x8x8" in capsys.readouterr().out
    assert [path.name for path in workplace.iterdir()] == ["net.py"]


def test_profile_takes_several_inputs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "two.py").write_text(TWO_INPUTS)
    assert main(["profile", "two.py:Two", "--shape", "1x3x8x8,1x1x8x8"]) == 0
    assert "two.py:Two at 1x3x8x8,1x1x8x8, convention planned" in capsys.readouterr().out


def test_profile_tells_what_the_network_needs_as_run(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "net.py").write_text(ONE_LAYER)
    words = ["profile", "net.py:build", "--shape", "1x3x8x8"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["as_run_bytes"] == 4 * 8 * 8 * (3 + 2)
    assert main(words) == 0
    assert "as run      0.0 MiB (1,280 bytes)" in capsys.readouterr().out.splitlines()


def test_profile_tells_it_also_of_a_network_that_cannot_be_traced(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "net.py").write_text(CROSSES)
    assert main(["profile", "net.py:Crosses", "--shape", "1x3x8x8"]) == 2
    error = capsys.readouterr().err
    assert "'cross'" in error and error.count("\n") == 1
    assert error.endswith("; as run the network needs 0.0 MiB (1,536 bytes)\n")


@pytest.mark.parametrize("name", ["here.png", "here.svg"])
def test_profile_draws_the_timeline(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["profile", "unet", "--width", "4", "--shape", "1x3x64x64", "--plot", name, "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["backbone"] == "unet"
    assert (workplace / name).stat().st_size > 1000


def test_profile_takes_a_checkpoint_in_place_of_a_backbone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = []

    def load(backbone: str, options: object, task: object) -> nn.Module:
        read.append(backbone)
        return nn.Sequential(nn.Conv2d(3, 2, 1))

    monkeypatch.setattr("bench.plugins.checkpoint.load", load)
    in_a_task = ["--checkpoint", "spandrel:net.pth", "--task", "denoising"]
    for words in (["--checkpoint", "net.pth"], ["spandrel:net.pth"], in_a_task):
        assert main(["profile", *words, "--shape", "1x3x8x8", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["parameters"] == 8
    assert read == ["spandrel:net.pth"] * 3


@pytest.mark.parametrize("words", [[], ["unet", "--checkpoint", "net.pth"]])
def test_profile_takes_one_network(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["profile", *words])
    assert "--checkpoint" in capsys.readouterr().err


def test_profile_shows_nafnet_with_its_gates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "nafnet", "--width", "8", "--shape", "1x3x64x64", "--json"]) == 0
    profile = json.loads(capsys.readouterr().out)
    # 8 channels of the skip and 3 of the input wait for 2 x 16, before and after the depthwise
    # convolution of the first block of a level of 8 channels.
    assert profile["peak_bytes"] == (8 + 2 * 16 + 3) * 4 * 64 * 64
    assert "spatial.2" in profile["peak_step"]


def test_the_offsets_of_an_arena_are_written_and_its_bytes_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    words = ["profile", "unet", "--width", "4", "--shape", "1x3x64x64", "--top", "1"]
    assert main([*words, "--arena", str(plan), "--alignment", "256"]) == 0
    written = json.loads(plan.read_text())
    greedy, best = written["arenas"]
    assert (greedy["strategy"], best["strategy"]) == ("greedy_by_size", "best_fit")
    assert all(place["offset"] % 256 == 0 for place in greedy["placements"])
    printed = capsys.readouterr().out
    assert f"arena, greedy_by_size: 0.2 MiB ({greedy['bytes']:,} bytes), 0.0% above the" in printed
