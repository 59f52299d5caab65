"""Saved networks: the same outputs after loading, and one line for every damage."""

import json
import subprocess
import sys

import pytest
import torch

from bench.channels.written_form import write_out
from bench.errors import ConfigError, PluginError
from bench.export.saved import load, save
from bench.files import checked_json
from bench.memory.peak_model import peak_model
from bench.surgery.compactors import insert_compactors, long_skips
from bench.surgery.remove import remove_channels
from tasks.denoising import Denoising

SHAPE = (1, 3, 32, 32)
ORIGIN = {
    "task": "denoising",
    "task_options": {},
    "backbone": "unet",
    "backbone_options": {"width": 2},
}


@pytest.fixture
def pruned():
    """A small U-Net with compactors, every unit halved; its kept channels; its compactors."""
    torch.manual_seed(0)
    model = Denoising().build("unet", width=2)
    skips = long_skips(model, SHAPE)
    model = insert_compactors(model, skips, SHAPE)
    kept = {
        unit: list(range(0, width, 2)) for unit, width in peak_model(model, SHAPE).widths.items()
    }
    return remove_channels(model, kept, SHAPE), kept, skips


@pytest.fixture
def folder(pruned, tmp_path):
    model, kept, inserted = pruned
    save(tmp_path / "net", model, **ORIGIN, kept=kept, inserted=inserted)
    return tmp_path / "net"


def test_a_loaded_network_computes_the_same(pruned, folder):
    photo = torch.rand(SHAPE)
    with torch.inference_mode():
        assert torch.equal(load(folder)(photo), pruned[0].eval()(photo))


@pytest.mark.parametrize("backbone", ["nafnet", "restormer"])
def test_networks_that_count_their_channels_come_back_the_same(backbone, tmp_path):
    torch.manual_seed(0)
    model = write_out(Denoising().build(backbone, width=8), SHAPE).eval()
    kept = {unit: range(width)[::2] for unit, width in peak_model(model, SHAPE).widths.items()}
    smaller = remove_channels(model, kept, SHAPE)
    origin = {**ORIGIN, "backbone": backbone, "backbone_options": {"width": 8}}
    save(tmp_path, smaller, **origin, kept=kept, inserted=())
    photo = torch.rand(SHAPE)
    with torch.inference_mode():
        assert torch.equal(load(tmp_path)(photo), smaller(photo))


def test_it_loads_in_a_fresh_process(folder):
    count = f"sum(p.numel() for p in load({str(folder)!r}).parameters())"
    process = subprocess.run(
        [sys.executable, "-c", f"from prunebench import load; print({count})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(process.stdout) == sum(p.numel() for p in load(folder).parameters())


def test_an_unpruned_network_needs_no_surgery(tmp_path):
    model = Denoising().build("unet", width=2)
    save(tmp_path, model, **ORIGIN, kept={}, inserted=())
    assert torch.equal(load(tmp_path).out.weight, model.out.weight)


def test_a_network_that_its_kept_channels_do_not_describe_is_not_saved(pruned, tmp_path):
    model, kept, inserted = pruned
    with pytest.raises(PluginError, match="is not the backbone with these kept channels"):
        save(tmp_path / "net", model, **ORIGIN, kept={}, inserted=inserted)
    with pytest.raises(PluginError, match="no prunable unit 'nonsense'"):
        save(tmp_path / "net", model, **ORIGIN, kept={**kept, "nonsense": [0]}, inserted=inserted)
    assert not (tmp_path / "net").exists()


def test_damage_and_absence_are_told(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"has no spec\.json"):
        load(tmp_path / "nowhere")
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(ConfigError, match="checksum"):
        load(folder)
    weights.write_bytes(whole)
    spec = json.loads((folder / "spec.json").read_text())
    del spec["checksum"]
    for broken, message in (
        (b"{", "not a description"),
        (checked_json.serialize({**spec, "kept": {}}), "do not belong"),
        (checked_json.serialize({}), "lacks backbone"),
    ):
        (folder / "spec.json").write_bytes(broken)
        with pytest.raises(ConfigError, match=message):
            load(folder)


def test_a_network_of_a_file_is_loaded_without_the_file_and_a_file_in_a_spec_is_not_run(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\nopen('was_run', 'w')\n\n\n"
        "def build():\n    return nn.Conv2d(3, 3, 1)\n"
    )
    model = torch.nn.Conv2d(3, 3, 1)
    origin = {"task": "denoising", "task_options": {}, "backbone_options": {}}
    save(tmp_path / "own", model, **origin, backbone="net.py:build", kept={}, inserted=())
    photo = torch.rand(SHAPE)
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "own")(photo), model(photo))
    spec = json.loads((folder / "spec.json").read_text())
    del spec["checksum"]
    checked_json.write(folder / "spec.json", {**spec, "backbone": "net.py:build"})
    with pytest.raises(ConfigError, match=r"unknown backbone 'net\.py:build'"):
        load(folder)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone_options": {"width": 10**6}}, "give at most 1024"),
        ({"backbone_options": {"width": 1024}}, "parameters, more than"),
        ({"kept": {"c11": ["0"]}}, "kept.c11: '0' is not a whole number"),
        ({"kept": {"c11": [10**30]}}, "above"),
        ({"kept": [1]}, "kept: list is not a table"),
        ({"inserted": "c12"}, "inserted: 'c12' is not a list"),
        ({"task": ["denoising"]}, "task: list is not text"),
        ({"task_options": {"shot": float("nan")}}, "not a finite number"),
    ],
)
def test_a_spec_that_asks_for_too_much_or_for_nothing_is_refused(folder, change, message):
    spec = json.loads((folder / "spec.json").read_text())
    del spec["checksum"]
    checked_json.write(folder / "spec.json", spec | change)
    with pytest.raises(ConfigError, match=message):
        load(folder)
