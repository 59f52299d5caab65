"""The unpruned network: trained once, found again, made again when damaged."""

import json

import pytest
import torch

from bench.training.pretrained import find, pretrained, pretrained_key
from bench.training.trainer import TaskTrainer
from tests.fakes import FakeTask


@pytest.fixture
def cell(study):
    return study().cells()[0]


@pytest.fixture
def trainings(monkeypatch):
    """The phases that were trained."""
    seen, fit = [], TaskTrainer.fit
    monkeypatch.setattr(
        TaskTrainer,
        "fit",
        lambda self, *args, **named: seen.append(named["phase"]) or fit(self, *args, **named),
    )
    return seen


def test_it_is_trained_once_and_read_back_the_same(cell, tmp_path, trainings):
    first, second = (pretrained(FakeTask(), cell, [tmp_path]) for _ in range(2))
    assert trainings == ["pretrain"]
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_its_sidecar_holds_recipe_checksum_and_curve(cell, tmp_path):
    pretrained(FakeTask(), cell, [tmp_path])
    sidecar = json.loads((tmp_path / f"{pretrained_key(cell)}.json").read_text())
    assert sidecar["question"]["recipe"]["pretrain_steps"] == 6 and len(sidecar["sha256"]) == 64
    assert (
        sidecar["calibration_loss"][-1]["step"] == 6 and sidecar["calibration_loss"][-1]["loss"] > 0
    )


def test_only_what_decides_its_weights_is_in_its_key(study):
    key = pretrained_key(study().cells()[0])
    same = study("recipe.finetune_steps=9", "recipe.threads=2", "ratios=[0.3]").cells()
    others = [
        study(change).cells()[0]
        for change in (
            "recipe.pretrain_steps=7",
            "seeds=[1]",
            "backbones=[{backbone='tiny', width=9}]",
        )
    ]
    assert {pretrained_key(cell) for cell in same} == {key}
    assert key not in {pretrained_key(cell) for cell in others}


def test_a_damaged_file_is_set_aside_with_a_warning_and_made_again(
    cell, tmp_path, trainings, caplog
):
    pretrained(FakeTask(), cell, [tmp_path])
    path = tmp_path / f"{pretrained_key(cell)}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    pretrained(FakeTask(), cell, [tmp_path])
    assert trainings == ["pretrain"] * 2 and path.with_name(f"{path.name}.damaged").is_file()
    assert "damaged" in caplog.text and find(cell, [tmp_path]) is not None


def test_a_later_folder_serves_when_the_first_has_none(cell, tmp_path, trainings):
    pretrained(FakeTask(), cell, [tmp_path / "packaged"])
    pretrained(FakeTask(), cell, [tmp_path / "own", tmp_path / "packaged"])
    assert trainings == ["pretrain"] and not (tmp_path / "own").exists()
