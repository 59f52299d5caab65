"""prunebench prune: one network, one budget, a folder that loads again."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from bench.cli.main import main
from bench.cli.prune import format_result
from bench.errors import ConfigError
from bench.export.saved import load
from bench.runner.prune import PruneRequest, build_study
from bench.study.study import load_study
from bench.units import MIB
from tests.bench.report import synthetic

REQUEST = PruneRequest(
    method="mosp",
    backbone="edsr",
    task=None,
    backbone_options={"width": 8},
    ratio=0.5,
    peak_bytes=None,
    data="embedded",
    seed=0,
    convention="planned",
)


def prune(*words: str) -> int:
    return main(
        ["prune", "narrow", "--backbone", "tiny", "--device", "cpu", "--executor", "serial", *words]
    )


def test_prune_gives_each_option_to_the_method_the_backbone_or_the_task() -> None:
    overrides = ["scale=4", "blocks=2", "pairs=true", "recipe.batch=1"]
    cell = build_study(replace(REQUEST, overrides=overrides)).cells()[1]
    assert (cell.task_options["scale"], cell.backbone_options) == (4, {"width": 8, "blocks": 2})
    assert (cell.method_options["pairs"], cell.recipe.batch) == (True, 1)


def test_the_cells_of_prune_are_those_of_a_study_file(tmp_path: Path) -> None:
    (tmp_path / "same.toml").write_text("""
        tasks = [{task = "super_resolution", scale = 4}]
        backbones = [{backbone = "edsr", width = 8, blocks = 2}]
        methods = ["unpruned", "mosp"]
        ratios = [0.5]
        recipe.pretrain_rate = 0.0003
        options.mosp.outer_stride = "1/12"
    """)
    overrides = ["scale=4", "blocks=2", "outer_stride=1/12", "recipe.pretrain_rate=3e-4"]
    cells = build_study(replace(REQUEST, overrides=overrides)).cells()
    in_file = load_study(tmp_path / "same.toml").cells()
    assert [cell.key for cell in cells] == [cell.key for cell in in_file]


def test_the_input_at_which_memory_is_counted_can_be_given() -> None:
    (unpruned, pruned) = build_study(replace(REQUEST, measured_at="1x3x64x96")).cells()
    assert unpruned.measured_at == pruned.measured_at == (1, 3, 64, 96)


def test_an_option_that_no_study_can_hold_is_one_sentence() -> None:
    for text in ("scale=2020-01-01", "scale=inf"):
        with pytest.raises(ConfigError):
            build_study(replace(REQUEST, overrides=[text]))


def test_prune_saves_a_network_that_loads_again(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune("--ratio", "0.75", "--out", "small") == 0
    printed = capsys.readouterr().out
    for word in ("budget", "peak planned", "peak eager", "parameters", "PSNR"):
        assert word in printed
    assert "from prunebench import load; model = load('small')" in printed
    record = json.loads((workplace / "small" / "record.json").read_text())
    assert sum(weight.numel() for weight in load("small").parameters()) == record["parameters"]


def test_the_peak_that_a_runtime_plans_is_printed_where_the_budget_is_the_runtimes() -> None:
    before, after = (
        synthetic.record(
            synthetic.cell("mosp", 0.5, 0),
            measured={"executorch": {"peak_bytes": size, "on": "plan"}},
        )
        for size in (8 * MIB, 4 * MIB)
    )
    assert "peak executorch 8.0 MiB -> 4.0 MiB" in format_result(before, after, Path("small"))


def test_a_budget_in_mib_is_met_to_the_byte(workplace: Path) -> None:
    assert prune("--peak-mib", "0.03", "--out", "small") == 0
    record = json.loads((workplace / "small" / "record.json").read_text())
    assert record["budget_bytes"] == int(0.03 * 2**20)


def test_an_impossible_budget_names_the_least(capsys: pytest.CaptureFixture[str]) -> None:
    assert prune("--ratio", "0.01") == 2
    assert "the least" in capsys.readouterr().err.splitlines()[-1]


def test_a_time_limit_that_is_too_short_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prune("--ratio", "0.5", "--time-limit", "0.001s") == 2
    message = "failed in [a-z]+: it ran past the time limit of 0.001 s"
    assert re.search(message, capsys.readouterr().err)


def test_prune_takes_a_checkpoint_as_it_is(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)
    monkeypatch.setattr("bench.plugins.checkpoint.load", lambda *_: nn.Sequential(*layers))
    monkeypatch.setattr("bench.plugins.checkpoint.source_hash", lambda backbone: "hash")
    words = ["--checkpoint", "nets/net.pth", "--task", "fake", "--ratio", "0.5", "--device", "cpu"]
    words += ["--set", "recipe.pretrain_steps=0", "--executor", "serial"]
    assert main(["prune", "global_l2", *words]) == 0
    folder = workplace / "results" / "pruned" / "net.pth-global_l2-0.5"
    assert "saved in        " in capsys.readouterr().out
    assert sum(weight.numel() for weight in load(folder).parameters()) < 8 * 28 + 3 * 73
    cell = json.loads((folder / "record.json").read_text())["cell"]
    assert (cell["backbone"], cell["backbone_folder"]) == ("net.pth", str(workplace / "nets"))
