"""Checkpoints: what is read, what is refused, and that no code in a file runs.

A small module stands in for spandrel; the last test uses the real one where it is installed.
"""

import pickle
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.plugins.backbones import backbone_fields, build, safe_file_name
from bench.plugins.network_file import is_user_network, load, source_hash
from bench.plugins.options import configure
from bench.plugins.registry import TASKS

DENOISING = configure(TASKS.get("denoising"), {}, "task denoising")


class Described:
    """Stands in for a description of spandrel: it feeds one map of the noise if asked to."""

    def __init__(self, state: dict[str, Tensor], scale: int = 1) -> None:
        weight = state["only.weight"]
        self.model = nn.Sequential()
        self.model.add_module("only", nn.Conv2d(weight.shape[1], len(weight), 1))
        self.model.load_state_dict(state)
        self.scale, self.output_channels = scale, len(weight)
        self.input_channels = min(3, weight.shape[1])
        self.architecture = SimpleNamespace(name="OneLayer")
        self.size_requirements = SimpleNamespace(minimum=0, multiple_of=1)

    def __call__(self, image: Tensor) -> Tensor:
        more = self.model.only.in_channels - image.shape[1]
        noise = image.new_full((1, more, *image.shape[2:]), 0.1)
        result: Tensor = self.model(torch.cat([image, noise], 1)).clamp(0, 1)
        return result


class UnsupportedModelError(Exception):
    """Stands in for spandrel's."""


class Loader:
    """Stands in for spandrel's."""

    def __init__(self, device: str) -> None:
        self.device = device

    def load_from_state_dict(self, state: dict[str, Tensor]) -> Any:
        if "mask.weight" in state:
            return SimpleNamespace(architecture=SimpleNamespace(name="Inpainting"))
        if "only.weight" not in state:
            raise UnsupportedModelError
        return Described(state)


@pytest.fixture(autouse=True)
def spandrel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("spandrel")
    vars(module).update(
        ModelLoader=Loader,
        ImageModelDescriptor=Described,
        UnsupportedModelError=UnsupportedModelError,
        canonicalize_state_dict=lambda state: state.get("params", state),
        __version__="0",
    )
    monkeypatch.setitem(sys.modules, "spandrel", module)
    monkeypatch.setattr("bench.plugins.checkpoint.find_spec", lambda name: None)
    return module


def write(path: Path, c_in: int = 3, c_out: int = 3, name: str = "only") -> str:
    torch.save(nn.ModuleDict({name: nn.Conv2d(c_in, c_out, 1)}).state_dict(), path)
    return str(path)


def test_a_checkpoint_is_a_network_of_the_user(tmp_path: Path) -> None:
    backbone = f"spandrel:{write(tmp_path / 'net.pth')}"
    assert is_user_network(backbone)
    model = build(DENOISING, backbone, {})
    assert model.only.weight.equal(torch.load(tmp_path / "net.pth")["only.weight"])
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_safetensors_and_half_precision_are_read_as_float32(tmp_path: Path) -> None:
    state = nn.ModuleDict({"only": nn.Conv2d(3, 3, 1)}).half().state_dict()
    save_file(state, tmp_path / "net.safetensors")
    model = load(str(tmp_path / "net.safetensors"), {})
    assert model.only.weight.equal(state["only.weight"].float())


def test_the_name_in_a_cell_has_no_prefix_and_no_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "net.pth")
    fields = backbone_fields(f"spandrel:{path}", {})
    assert fields == backbone_fields(path, {})
    assert (fields["backbone"], fields["backbone_folder"]) == ("net.pth", str(tmp_path))
    assert safe_file_name(f"spandrel:{path}") == "net.pth"


def test_other_weights_are_another_question(tmp_path: Path) -> None:
    first = source_hash(write(tmp_path / "net.pth"))
    assert source_hash(write(tmp_path / "net.pth")) != first


def test_no_code_in_a_file_runs(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"only.weight": Trap()}))
    torch.save({"only.weight": Trap()}, tmp_path / "zipped.pth")
    for name in ("trap.pth", "zipped.pth"):
        with pytest.raises(ConfigError, match=r"holds more than tensors.*UnpicklingError"):
            load(str(tmp_path / name), {})
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["net.pth", "net.ckpt", "net.safetensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(ConfigError, match="is damaged or holds more than tensors"):
        load(str(tmp_path / name), {})


@pytest.mark.parametrize(
    ("c_in", "c_out", "name", "message"),
    [
        (3, 3, "other", "no architecture that spandrel knows .its first weights: other.weight"),
        (3, 3, "mask", "holds Inpainting, which needs a mask beside the image"),
        (4, 3, "only", "holds OneLayer, which needs more than the image, such as a map of the"),
        (1, 1, "only", "from 1 to 1 channels at scale 1; task denoising wants 3 to 3 at scale 1"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    tmp_path: Path, c_in: int, c_out: int, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(DENOISING, write(tmp_path / "net.pth", c_in, c_out, name), {})


def test_a_network_of_another_scale_is_refused(tmp_path: Path) -> None:
    task = configure(TASKS.get("super_resolution"), {"scale": 2}, "task super_resolution")
    with pytest.raises(ConfigError, match=r"scale 1; task super_resolution wants .* at scale 2"):
        build(task, write(tmp_path / "net.pth"), {})


def test_a_network_whose_output_spandrel_changes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Described, "__call__", lambda self, image: self.model(image) * 0.5 + 0.5)
    with pytest.raises(ConfigError, match="whose output is not the image alone"):
        load(write(tmp_path / "net.pth"), {})


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "net.pth")
    with pytest.raises(ConfigError, match="holds a list, not a state dict"):
        load(str(tmp_path / "net.pth"), {})


def test_options_missing_files_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes no options: it decides width itself"):
        load(write(tmp_path / "net.pth"), {"width": 4})
    with pytest.raises(ConfigError, match=r"there is no file .*none\.pth"):
        load(str(tmp_path / "none.pth"), {})
    with pytest.raises(ConfigError, match="does not name a checkpoint; give a file that ends in"):
        load(f"spandrel:{tmp_path}/net.py", {})


def test_without_spandrel_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ConfigError, match=r"pip install 'prunebench\[spandrel\]'"):
        load(write(tmp_path / "net.pth"), {})


@pytest.mark.slow
@pytest.mark.skipif(find_spec("spandrel") is None, reason="needs spandrel")
def test_spandrel_itself_reads_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "spandrel")
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.DRUNet import DRUNet

    network = Compact(num_feat=8, num_conv=2, upscale=1).eval()
    torch.save({"params_ema": network.state_dict()}, tmp_path / "compact.pth")
    image = torch.rand(1, 3, 32, 32)
    assert build(DENOISING, f"{tmp_path}/compact.pth", {})(image).equal(network(image))
    torch.save(DRUNet(in_nc=4, out_nc=3, nc=[4] * 4, nb=2).state_dict(), tmp_path / "drunet.pth")
    with pytest.raises(ConfigError, match="such as a map of the noise"):
        load(str(tmp_path / "drunet.pth"), {})
