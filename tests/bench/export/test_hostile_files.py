"""Weights that are a pickle whose reading would make a folder: no loader reads it."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.errors import ConfigError
from bench.export import bundle, saved
from bench.files import checked_json
from bench.files.hashing import checksum
from bench.training.pretrained import load_or_train, pretrained_key
from tasks.denoising import Denoising
from tests.fakes import FakeTask, Tiny


class Payload:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def write_pickle(payload: Payload, path: Path) -> None:
    path.write_bytes(pickle.dumps(payload))


def write_torch_file(payload: Payload, path: Path) -> None:
    torch.save({"weight": payload}, path)


WRITERS = (write_pickle, write_torch_file)


def replace_weights(
    weights: Path, sidecar: Path, write: Callable[[Payload, Path], None], trap: Path
) -> None:
    """Write a hostile file in place of weights, with the right checksums beside it."""
    write(Payload(trap), weights)
    content = json.loads(sidecar.read_text()) | {"sha256": checksum(weights.read_bytes())}
    content.pop("checksum")
    checked_json.write(sidecar, content)


@pytest.mark.parametrize("write", WRITERS)
def test_the_payload_works_where_pickles_are_read(write: Callable, tmp_path: Path) -> None:
    write(Payload(tmp_path / "trap"), tmp_path / "weights")
    if write is write_pickle:
        pickle.loads((tmp_path / "weights").read_bytes())
    else:
        torch.load(tmp_path / "weights", weights_only=False)
    assert (tmp_path / "trap").is_dir()


@pytest.mark.parametrize("write", WRITERS)
def test_an_exported_network_whose_weights_are_a_pickle_is_refused(
    write: Callable, tmp_path: Path
) -> None:
    bundle.save(tmp_path, Tiny(2))
    replace_weights(
        tmp_path / "weights.safetensors", tmp_path / "spec.json", write, tmp_path / "trap"
    )
    with pytest.raises(ConfigError, match="no tensors in the form of safetensors"):
        bundle.load(tmp_path)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_a_saved_network_whose_weights_are_a_pickle_is_refused(
    write: Callable, tmp_path: Path
) -> None:
    origin = {
        "task": "denoising",
        "task_options": {},
        "backbone": "unet",
        "backbone_options": {"width": 2},
    }
    saved.save(tmp_path, Denoising().build("unet", width=2), **origin, kept={}, inserted=())
    replace_weights(
        tmp_path / "weights.safetensors", tmp_path / "spec.json", write, tmp_path / "trap"
    )
    with pytest.raises(ConfigError):
        saved.load(tmp_path)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_an_unpruned_network_whose_weights_are_a_pickle_is_not_read(
    write: Callable, study: Callable, tmp_path: Path
) -> None:
    cell = study().cells()[0]
    load_or_train(FakeTask(), cell, [tmp_path])
    stem = tmp_path / pretrained_key(cell)
    replace_weights(
        stem.with_suffix(".safetensors"), stem.with_suffix(".json"), write, tmp_path / "trap"
    )
    with pytest.raises(ConfigError, match="is no safetensors file"):
        load_or_train(FakeTask(), cell, [tmp_path])
    assert not (tmp_path / "trap").exists()
