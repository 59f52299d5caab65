"""A plugin file with a method and a backbone: in lists, in studies over two processes, exported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = """
from dataclasses import dataclass
from torch import nn
from bench.plugins.registry import backbone, method
from methods.uniform import Uniform

@backbone("three_layers")
def three_layers(width=8):
    first, last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), last)

@method("my_uniform")
@dataclass(frozen=True)
class MyUniform(Uniform):
    start: str = "slice"
"""
STUDY = """
tasks = ["denoising"]
backbones = [{backbone = "three_layers", width = 6}]
methods = ["unpruned", "my_uniform", "global_l2"]
ratios = [0.7]
measured_at = "1x3x32x32"
recipe = {patch = 16, batch = 1, pretrain_steps = 2, finetune_steps = 1, calibration_crops = 1}
"""


def prunebench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prunebench", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "mine.toml").write_text(STUDY)
    (folder / "broken.py").write_text("1 / 0")
    return folder


def test_lists_name_the_file_beside_a_broken_one(folder: Path) -> None:
    listed = prunebench(folder, "list", "methods", "--plugin", "broken.py", "--plugin", "mine.py")
    assert f"my_uniform\n  origin      {folder / 'mine.py'}" in listed.stdout
    assert listed.stderr == (
        f"prunebench: the plugin {folder / 'broken.py'} is left out: "
        "it raises ZeroDivisionError in line 1 of broken.py: division by zero\n"
    )
    listed = prunebench(folder, "list", "backbones", "--plugin", "mine.py", "--json")
    (mine,) = (entry for entry in json.loads(listed.stdout) if entry["name"] == "three_layers")
    assert (mine["origin"], mine["options"]) == (str(folder / "mine.py"), {"width": 8})


def test_a_study_over_two_processes_has_its_rows(folder: Path) -> None:
    run = ["run", "mine.toml", "--plugin", "mine.py", "--no-mlflow", "--out", "out"]
    done = prunebench(folder, *run, "--workers", "2")
    assert done.returncode == 0, done.stderr
    rows = json.loads(prunebench(folder, "table", "out", "--format", "json").stdout)
    assert {(row["label"], row["status"]) for row in rows} == {
        ("unpruned", "done"),
        ("my_uniform", "done"),
        ("global_l2", "done"),
    }
    export = ["export", "out", "--row", "my_uniform", "--format", "safetensors", "--out", "net"]
    exported = prunebench(folder, *export)
    assert "it computes the same to the last bit" in exported.stdout, exported.stderr


def test_without_the_file_the_study_says_what_is_unknown(folder: Path) -> None:
    run = ["run", "mine.toml", "--plugin", "broken.py", "--no-mlflow", "--out", "other"]
    done = prunebench(folder, *run)
    assert done.returncode == 2
    assert (
        "unknown backbone of task denoising 'three_layers'" in done.stderr
        or "unknown method 'my_uniform'" in done.stderr
    )
    assert not (folder / "other").exists()
