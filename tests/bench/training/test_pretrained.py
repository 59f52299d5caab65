"""The unpruned network: trained once, found again, made again when damaged."""

import json

import pytest
import torch

from bench.training.pretrained import find_weights, load_or_train, pretrained_key, pretraining_scope
from bench.training.trainer import TaskTrainer
from tests.fakes import FakeTask


@pytest.fixture
def cell(study):
    return study().cells()[0]


@pytest.fixture
def trainings(monkeypatch):
    """The phases of all trainings."""
    phases = []
    fit = TaskTrainer.fit

    def note_fit(self, *args, **options):
        phases.append(options["phase"])
        return fit(self, *args, **options)

    monkeypatch.setattr(TaskTrainer, "fit", note_fit)
    return phases


def test_it_is_trained_once_and_read_back_the_same(cell, tmp_path, trainings):
    first, second = (load_or_train(FakeTask(), cell, [tmp_path]) for _ in range(2))
    assert trainings == ["pretrain"]
    for weight, stored in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(weight, stored)


def test_its_sidecar_holds_recipe_checksum_and_curve(cell, tmp_path):
    load_or_train(FakeTask(), cell, [tmp_path])
    sidecar = json.loads((tmp_path / f"{pretrained_key(cell)}.json").read_text())
    assert sidecar["question"]["recipe"]["pretrain_steps"] == 6 and len(sidecar["sha256"]) == 64
    last = sidecar["calibration_loss"][-1]
    assert last["step"] == 6 and last["loss"] > 0


def test_only_what_decides_its_weights_is_in_its_key(study):
    key = pretrained_key(study().cells()[0])
    same = study(
        "recipe.finetune_steps=9", "recipe.threads=2", "recipe.distillation=0.5", "ratios=[0.3]"
    ).cells()
    changes = (
        "recipe.pretrain_steps=7",
        "recipe.averaging=0.9",
        "recipe.training_precision='bf16'",
        "seeds=[1]",
        "backbones=[{backbone='tiny', width=9}]",
    )
    others = [study(change).cells()[0] for change in changes]
    assert {pretrained_key(cell) for cell in same} == {key}
    assert key not in {pretrained_key(cell) for cell in others}


def test_a_damaged_file_is_set_aside_with_a_warning_and_made_again(
    cell, tmp_path, trainings, caplog
):
    load_or_train(FakeTask(), cell, [tmp_path])
    path = tmp_path / f"{pretrained_key(cell)}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    load_or_train(FakeTask(), cell, [tmp_path])
    assert trainings == ["pretrain"] * 2 and path.with_name(f"{path.name}.damaged").is_file()
    assert "damaged" in caplog.text and find_weights(cell, [tmp_path]) is not None


def test_a_later_folder_serves_when_the_first_has_none(cell, tmp_path, trainings):
    load_or_train(FakeTask(), cell, [tmp_path / "packaged"])
    load_or_train(FakeTask(), cell, [tmp_path / "own", tmp_path / "packaged"])
    assert trainings == ["pretrain"] and not (tmp_path / "own").exists()


def test_a_methods_own_pretraining_serves_studies_that_differ_in_what_follows(study):
    scope = pretraining_scope(study().cells()[1])
    same = study("recipe.finetune_steps=9", "recipe.adapt_steps=1", "ratios=[0.3]").cells()
    changes = (
        "recipe.pretrain_steps=7",
        "seeds=[1]",
        "methods=[{method='narrow', finishing='scratch'}]",
    )
    others = [study(change).cells()[-1] for change in changes]
    assert {pretraining_scope(cell) for cell in same[1:]} == {scope}
    assert scope not in {pretraining_scope(cell) for cell in others}
