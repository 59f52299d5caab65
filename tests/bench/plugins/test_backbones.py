"""Backbones of tasks and of users: their options, and what is part of the key of a cell."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import ConfigError
from bench.plugins.backbones import (
    available_options,
    backbone_fields,
    build,
    complete_options,
    has_backbone,
    initialise,
    safe_file_name,
    source_hash,
)
from tests.fakes import FakeTask, Tiny

NET = """
from torch import nn

def build(width=4, act=nn.ReLU, names=()):
    head, tail = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
    return nn.Sequential(head, act(), tail)

kept = build()

def same():
    return kept

def uncopied():
    net = build()
    net.ticket = net[0].weight * 1
    return net
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    """file(text, name): write a network file and return its path."""

    def write(text: str = NET, name: str = "net.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_a_backbone_of_a_task_is_built_by_the_task_and_has_no_source_hash() -> None:
    assert isinstance(build(FakeTask(), "tiny", {"width": 3}), Tiny)
    assert complete_options(FakeTask, "tiny", {}) == {"width": 8}
    assert backbone_fields("tiny", {}) == {"backbone": "tiny"} and source_hash("tiny", {}) == ""
    assert has_backbone(FakeTask, "tiny") and not has_backbone(FakeTask, "unet")


def test_a_file_belongs_to_every_task_and_its_plain_defaults_are_options(file) -> None:
    backbone = file() + ":build"
    assert has_backbone(FakeTask, backbone)
    assert available_options(FakeTask, backbone)["act"] is nn.ReLU
    assert complete_options(FakeTask, backbone, {}) == {"width": 4}
    assert build(FakeTask(), backbone, {"width": 6})[0].out_channels == 6


def test_a_network_that_the_file_keeps_is_copied(file) -> None:
    with pytest.raises(
        ConfigError,
        match=r"net\.py:uncopied builds a network that cannot be copied: "
        r"Only Tensors created explicitly",
    ):
        build(FakeTask(), file() + ":uncopied", {})
    file("from torch import nn\nkept = nn.Conv2d(3, 3, 1)\n", "kept_of_a_test.py")
    backbone = file("from kept_of_a_test import kept\n") + ":kept"
    first, second = (build(FakeTask(), backbone, {}) for _ in range(2))
    assert first is not second and torch.equal(first.weight, second.weight)


def test_the_folder_of_a_file_is_not_in_its_source_hash_and_may_have_spaces(
    file, tmp_path: Path
) -> None:
    folder = tmp_path / "another folder"
    folder.mkdir()
    shutil.copy(file(), folder / "net.py")
    here = backbone_fields(file() + ":build", {})
    moved = backbone_fields(f"{folder / 'net.py'}:build", {})
    assert here["backbone"] == moved["backbone"] == "net.py:build"
    assert here["backbone_source"] == moved["backbone_source"]
    assert moved["backbone_folder"] == str(folder)


def test_the_source_hash_changes_with_the_file_and_with_what_it_imports(file) -> None:
    backbone = file(NET) + ":build"
    before = source_hash(backbone, {})
    assert source_hash(backbone, {}) == before
    file(f"{NET}\n# another line\n")
    assert source_hash(backbone, {}) != before
    file("import layers_of_a_test\n" + NET)
    file("x = 1\n", "layers_of_a_test.py")
    before = source_hash(backbone, {})
    file("x = 2\n", "layers_of_a_test.py")
    file("y = 2\n", "not_read.py")
    after = source_hash(backbone, {})
    file("y = 3\n", "not_read.py")
    assert before != after == source_hash(backbone, {})


READS_A_WEIGHT = """
import torch
from torch import nn
from pathlib import Path


def build():
    net = nn.Conv2d(3, 3, 1)
    net.bias.data.fill_(float((Path(__file__).parent / 'bias.txt').read_text()))
    return net
"""


def test_weights_that_are_read_are_part_of_the_source_hash(file, tmp_path: Path) -> None:
    (tmp_path / "bias.txt").write_text("0.5")
    backbone = file(READS_A_WEIGHT) + ":build"
    before = source_hash(backbone, {})
    assert source_hash(backbone, {}) == before
    (tmp_path / "bias.txt").write_text("0.25")
    assert source_hash(backbone, {}) != before


def test_computing_a_source_hash_leaves_the_random_state_unchanged(file) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    source_hash(file() + ":build", {})
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("unet", "unet"),
        ("nets/my_net.py:build", "my_net-build"),
        ("/a b/net two.py:Net", "net_two-Net"),
    ],
)
def test_a_backbone_has_a_name_for_files(backbone: str, name: str) -> None:
    assert safe_file_name(backbone) == name


class ZeroLast(nn.Sequential):
    """A network whose last layer starts with zero weights."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self[-1].weight)


def test_new_weights_follow_the_generator_and_a_class_overrides_its_layers() -> None:
    network = ZeroLast(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
    first_weights = []
    for seed in (0, 0, 1):
        for value in network.state_dict().values():
            value.fill_(7)
        torch.manual_seed(len(first_weights))
        initialise(network, torch.Generator().manual_seed(seed))
        first_weights.append(network[0].weight.clone())
        assert not any((value == 7).any() for value in network.state_dict().values())
        assert not network[2].weight.any()
    assert torch.equal(first_weights[0], first_weights[1])
    assert not torch.equal(first_weights[0], first_weights[2])
