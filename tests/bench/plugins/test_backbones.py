"""Backbones, a task's own and the user's: what is known of them, and that what decides an answer is part of the question."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import ConfigError
from bench.plugins.backbones import (
    belongs,
    build,
    completed,
    initialise,
    name_for_files,
    options,
    placed,
    source,
)
from tests.fakes import FakeTask, Tiny

NET = """
from torch import nn

def build(width=4, act=nn.ReLU, names=()):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), act(), nn.Conv2d(width, 3, 3, padding=1))

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
    """file(text, name): writes a network file and gives its path."""

    def write(text: str = NET, name: str = "net.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_a_task_builds_its_own_and_has_no_source_of_it() -> None:
    assert isinstance(build(FakeTask(), "tiny", {"width": 3}), Tiny)
    assert completed(FakeTask, "tiny", {}) == {"width": 8}
    assert placed("tiny", {}) == {"backbone": "tiny"} and source("tiny", {}) == ""
    assert belongs(FakeTask, "tiny") and not belongs(FakeTask, "unet")


def test_a_file_belongs_to_every_task_and_its_plain_defaults_are_options(file) -> None:
    backbone = file() + ":build"
    assert belongs(FakeTask, backbone) and options(FakeTask, backbone)["act"] is nn.ReLU
    assert completed(FakeTask, backbone, {}) == {"width": 4}
    assert build(FakeTask(), backbone, {"width": 6})[0].out_channels == 6


def test_a_network_that_the_file_keeps_is_copied(file) -> None:
    with pytest.raises(
        ConfigError,
        match=r"net\.py:uncopied builds a network that cannot be copied: Only Tensors created explicitly",
    ):
        build(FakeTask(), file() + ":uncopied", {})
    file("from torch import nn\nkept = nn.Conv2d(3, 3, 1)\n", "kept_of_a_test.py")
    backbone = file("from kept_of_a_test import kept\n") + ":kept"
    first, second = (build(FakeTask(), backbone, {}) for _ in range(2))
    assert first is not second and torch.equal(first.weight, second.weight)


def test_the_place_of_a_file_is_not_in_its_source_and_may_have_spaces(file, tmp_path: Path) -> None:
    there = tmp_path / "another folder"
    there.mkdir()
    shutil.copy(file(), there / "net.py")
    here, moved = placed(file() + ":build", {}), placed(f"{there / 'net.py'}:build", {})
    assert here["backbone"] == moved["backbone"] == "net.py:build"
    assert here["backbone_source"] == moved["backbone_source"] and moved["backbone_folder"] == str(
        there
    )


def test_a_changed_file_has_another_source_and_so_has_a_changed_neighbour(file) -> None:
    backbone = file(NET) + ":build"
    before = source(backbone, {})
    assert source(backbone, {}) == before
    file(f"{NET}\n# another line\n")
    assert source(backbone, {}) != before
    file("import layers_of_a_test\n" + NET), file("x = 1\n", "layers_of_a_test.py")
    before = source(backbone, {})
    file("x = 2\n", "layers_of_a_test.py"), file("y = 2\n", "not_read.py")
    after = source(backbone, {})
    file("y = 3\n", "not_read.py")
    assert before != after == source(backbone, {})


def test_weights_that_are_read_are_part_of_the_source(file, tmp_path: Path) -> None:
    text = "import torch\nfrom torch import nn\nfrom pathlib import Path\n\n\ndef build():\n    net = nn.Conv2d(3, 3, 1)\n"
    text += "    net.bias.data.fill_(float((Path(__file__).parent / 'bias.txt').read_text()))\n    return net\n"
    (tmp_path / "bias.txt").write_text("0.5")
    backbone = file(text) + ":build"
    before = source(backbone, {})
    assert source(backbone, {}) == before
    (tmp_path / "bias.txt").write_text("0.25")
    assert source(backbone, {}) != before


def test_building_for_a_source_draws_no_random_number_of_ours(file) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    source(file() + ":build", {})
    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("unet", "unet"),
        ("nets/my_net.py:build", "my_net-build"),
        ("/a b/net two.py:Net", "net_two-Net"),
    ],
)
def test_a_backbone_has_a_name_for_files(backbone: str, name: str) -> None:
    assert name_for_files(backbone) == name


class Calm(nn.Sequential):
    """Begins with a last layer of zeros."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self[-1].weight)


def test_new_weights_follow_the_generator_and_the_class_has_the_last_word() -> None:
    network, firsts = Calm(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)), []
    for seed in (0, 0, 1):
        for value in network.state_dict().values():
            value.fill_(7)
        torch.manual_seed(len(firsts))
        initialise(network, torch.Generator().manual_seed(seed))
        firsts.append(network[0].weight.clone())
        assert (
            not any((value == 7).any() for value in network.state_dict().values())
            and not network[2].weight.any()
        )
    assert torch.equal(firsts[0], firsts[1]) and not torch.equal(firsts[0], firsts[2])
