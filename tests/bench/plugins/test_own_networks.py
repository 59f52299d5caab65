"""Networks of the user in studies: their rows, their keys and the messages of errors."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bench.training.pretrained
from bench.errors import ConfigError
from bench.export.saved import load
from bench.plugins.backbones import backbone_fields, initialise
from bench.plugins.options import build_task
from bench.runner.executors.processes import ProcessExecutor
from bench.runner.executors.serial import SerialExecutor
from bench.runner.job import run_job
from bench.runner.prune import PruneRequest, build_study, folder_name, prune_once
from bench.runner.run import check_inputs, run_study
from bench.study.catalogue import build_backbone
from bench.study.study import Study, load_study
from bench.training.evaluation import evaluate, means
from bench.training.pretrained import load_or_train, pretrained_key
from tests.fakes import FakeTask

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8, out=3, channels=3, norm=False):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.act = nn.ReLU()
        self.out = nn.Conv2d(width, out, 3, padding=1)

    def forward(self, x):
        return self.out(self.act(self.norm(self.first(x))))

class Listing(Net):
    def forward(self, x):
        return [super().forward(x)]

class Deciding(Net):
    def forward(self, x):
        return super().forward(x) if x.mean() > 5 else super().forward(x) * 2

class Halving(Net):
    def forward(self, x):
        small = nn.functional.max_pool2d(x, 2)
        return super().forward(small.repeat_interleave(2, 2).repeat_interleave(2, 3))

class Strange(Net):
    def forward(self, x):
        return torch.special.erf(super().forward(x))

class Asking(Net):
    def forward(self, x):
        return super().forward(x * 2 if isinstance(x, torch.Tensor) else x)

def frozen():
    return Net().requires_grad_(False)

def hooked():
    net = Net()
    net.first = nn.utils.parametrizations.weight_norm(net.first)
    return net

def raises(width=4):
    raise ValueError("two\\nlines")

def detached():
    class Detached(Net):
        def forward(self, x):
            return super().forward(x).detach()
    return Detached()
"""
QUICK = ("measured_at=1x3x32x32", "methods=['unpruned', 'torch_pruning']", "ratios=[0.6]")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network file in the working folder, whose name has a space."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my net.py").write_text(NET)
    return tmp_path / "my net.py"


@pytest.fixture
def own(file: Path, study: Callable[..., Study]) -> Callable[..., Study]:
    """own("Net", ...): the study of the fake task with this network of the file."""
    return lambda name, *changes, **given: study(
        f"backbones=['my net.py:{name}']", *QUICK, *changes, **given
    )


def test_a_network_file_gives_rows_with_its_options(own, store) -> None:
    study = own("Net", "backbones=[{backbone='my net.py:Net', width=6}]")
    records = run_study(study, store, SerialExecutor())
    reasons = [record.reason for record in records]
    assert [record.status for record in records] == ["done", "done"], reasons
    cell = records[1].cell
    assert cell.backbone == "my net.py:Net"
    assert cell.backbone_options == {"width": 6, "out": 3, "channels": 3, "norm": False}
    assert records[1].peak_bytes <= 0.6 * records[0].peak_bytes
    assert records[1].steps == {"finetune": 4}
    assert run_study(study, store, SerialExecutor()) == records


WORKERS = """
tasks = ["denoising"]
backbones = ["my net.py:Net"]
methods = ["unpruned", {method = "unpruned", label = "trained on", finetune = true}]
ratios = [0.6]
measured_at = "1x3x32x32"
recipe = {patch = 16, batch = 1, pretrain_steps = 0, finetune_steps = 1, calibration_crops = 1}
"""


def test_worker_processes_build_it_too(file, store, tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(WORKERS)
    records = run_study(load_study(tmp_path / "real.toml"), store, ProcessExecutor(2))
    reasons = [record.reason for record in records]
    assert [record.status for record in records] == ["done"] * 2, reasons


def test_a_changed_file_makes_a_new_cell_and_a_moved_one_does_not(
    own, file: Path, tmp_path: Path
) -> None:
    cell = own("Net").cells()[0]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / file.name).write_text(NET)
    moved = own("Net", "backbones=['elsewhere/my net.py:Net']").cells()[0]
    assert (moved.key, pretrained_key(moved)) == (cell.key, pretrained_key(cell))
    assert moved.backbone_folder != cell.backbone_folder
    file.write_text(f"{NET}\n# changed\n")
    changed = own("Net").cells()[0]
    assert changed.key != cell.key and pretrained_key(changed) != pretrained_key(cell)


TRAINED = """
def trained():
    net = Net()
    net.first.weight.data.fill_(0.25)
    return net
"""


def test_without_pretraining_the_weights_are_those_of_the_file(
    own, file: Path, tmp_path: Path
) -> None:
    file.write_text(NET + TRAINED)
    cell = own("trained", "recipe.pretrain_steps=0").cells()[0]
    weight = load_or_train(build_task(cell), cell, [tmp_path / "a"]).first.weight
    assert torch.equal(weight, torch.full_like(weight, 0.25))


def test_pretraining_starts_from_the_weights_that_the_file_draws_with_the_seed(
    own, tmp_path: Path
) -> None:
    cell = own("Net", "recipe.pretrain_steps=0").cells()[0]
    task = build_task(cell)
    first, again = (load_or_train(task, cell, [tmp_path / name]).first.weight for name in "ab")
    other = load_or_train(task, replace(cell, seed=1), [tmp_path / "a"]).first.weight
    assert torch.equal(first, again) and not torch.equal(first, other)
    recipe = replace(cell.recipe, pretrain_steps=1, pretrain_rate=1e-6)
    trained = load_or_train(task, replace(cell, recipe=recipe), [tmp_path / "a"])
    assert torch.allclose(trained.first.weight, first, atol=1e-4)


def test_training_from_scratch_starts_from_the_initial_weights_of_the_layers(
    own, store, monkeypatch
) -> None:
    initial_biases: list[torch.Tensor] = []

    def refuse(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        raise AssertionError("the rule of the task is for its own backbones")

    monkeypatch.setattr("tests.fakes.FakeTask.initialise", refuse)
    monkeypatch.setattr(
        "bench.runner.job_context.initialise",
        lambda model, generator: (
            initialise(model, generator),
            initial_biases.append(model.out.bias.clone()),
        ),
    )
    scratch = "methods=[{method='uniform', start='scratch'}]"
    (record,) = run_study(own("Net", scratch), store, SerialExecutor())
    assert record.status == "done"
    assert len(initial_biases) == 1 and 0 < initial_biases[0].abs().max() < 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:Net", "there is no file nowhere.py"),
        ("my net.py:Nett", "unknown name in my net.py 'Nett'; did you mean 'Net'"),
        ("my net.py:raises", "raises ValueError in line 46 of my net.py: two"),
        (
            "my net.py:Listing",
            "my net.py:Listing gives a list for an input of 2x3x16x16; task fake wants 2x3x16x16, "
            "so wrap it in a module that returns that",
        ),
        ("my net.py:frozen", "has no weight that can be trained"),
        ("my net.py:hooked", "has a hook or a parametrisation on 'first'"),
        (
            "my net.py:detached",
            "cannot be trained: RuntimeError: element 0 of tensors does not require grad",
        ),
        ("my net.py:Deciding", "my net.py:22: it decides on the values in a tensor"),
        (
            "my net.py:Asking",
            "traced to another function: at 2x3x16x16 the outputs differ",
        ),
        (
            "my net.py:Strange",
            "the operator 'special_erf' (at special_erf, my net.py:31) is not in the table",
        ),
        (
            "{backbone='my net.py:Net', out=4}",
            "gives 2x4x16x16 for an input of 2x3x16x16; task fake wants 2x3x16x16",
        ),
        (
            "{backbone='my net.py:Net', channels=4}",
            "raises RuntimeError for an input of 2x3x16x16: Given groups=1",
        ),
        (
            "{backbone='my net.py:Net', wdith=4}",
            "unknown option of my net.py:Net 'wdith'; did you mean 'width'",
        ),
    ],
)
def test_the_error_for_an_unusable_network_is_one_line_before_any_training(
    name: str, message: str, own, store
) -> None:
    backbone = name if name[0] == "{" else repr(name)
    with pytest.raises(ConfigError) as refused:
        run_study(own("Net", f"backbones=[{backbone}]"), store, SerialExecutor())
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not store.folder.exists()


def test_a_network_that_refuses_the_sizes_of_some_photographs_is_refused(own, monkeypatch) -> None:
    monkeypatch.setattr("tests.fakes.FakeTask.size_multiple", 1)
    with pytest.raises(
        ConfigError, match="gives 2x3x16x18 for an input of 2x3x17x18; task fake wants 2x3x17x18"
    ):
        check_inputs(own("Halving").cells())


def test_two_files_of_one_name_are_refused(own, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "my net.py").write_text(NET)
    with pytest.raises(
        ConfigError, match=r"two networks are called my net\.py:Net, in .* rename one of the files"
    ):
        own("Net", "backbones=['my net.py:Net', 'there/my net.py:Net']")


def test_a_file_that_is_changed_or_deleted_during_a_run_gives_failed_rows(
    own, file: Path, store
) -> None:
    study = own("Net")
    job = study.jobs(study.cells())[1]
    file.write_text(NET + "\n# changed\n")
    changed = list(run_job(job, store))
    file.unlink()
    deleted = list(run_job(job, store))
    assert [record.status for record in changed + deleted] == ["failed", "failed"]
    assert "was changed after the run began" in changed[0].reason
    assert "there is no file" in deleted[0].reason


def test_one_network_is_pruned_for_the_task_that_is_named(file: Path) -> None:
    def make_request(task: str | None, *texts: str) -> PruneRequest:
        return PruneRequest(
            "narrow",
            "my net.py:Net",
            task,
            {"width": 6},
            None,
            4 * 32 * 32 * 8,
            "embedded",
            0,
            "planned",
            texts,
        )

    with pytest.raises(
        ConfigError,
        match=r"my net\.py:Net is a network of your own, which belongs to no task; "
        r"name one: --task .*denoising",
    ):
        build_study(make_request(None))
    cell = build_study(make_request("fake", "norm=true", "train_steps=1", "noise=0.2")).cells()[1]
    assert cell.backbone_options["norm"] is True
    assert cell.method_options["train_steps"] == 1
    assert cell.task_options == {"noise": 0.2}
    assert int(cell.ratio * 4 * 32 * 32 * 9) == 4 * 32 * 32 * 8
    assert folder_name(cell.backbone, "narrow", "6MiB") == "my_net-Net-narrow-6MiB"


def test_a_pruned_network_is_loaded_without_the_file(file: Path, tmp_path: Path) -> None:
    quick = ("recipe.finetune_steps=1", "recipe.pretrain_steps=0")
    request = PruneRequest(
        "torch_pruning",
        "my net.py:Net",
        "fake",
        {"norm": True},
        0.6,
        None,
        "embedded",
        0,
        "planned",
        quick,
    )
    unpruned, pruned = prune_once(
        request, tmp_path / "small", tmp_path / "work", executor=SerialExecutor()
    )
    file.unlink()
    spec = json.loads((tmp_path / "small" / "spec.json").read_text())
    assert spec.keys() == {"schema", "graph", "sha256", "checksum"}
    assert pruned.peak_bytes <= 0.6 * unpruned.peak_bytes
    scores = means(evaluate(FakeTask(), load(tmp_path / "small"), "embedded"))
    assert scores == pytest.approx(pruned.means)


def test_a_built_network_comes_with_the_input_shape_of_its_task(file: Path) -> None:
    model, shape = build_backbone("my net.py:Net", "fake", {"width": 5, "noise": 0.2})
    assert (model.first.out_channels, shape) == (5, FakeTask.measured_at)


SCALING = """
from torch import nn


def build(scale=2):
    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 1), nn.PixelShuffle(scale))
"""


def test_an_option_that_the_task_also_has_is_given_to_both(file: Path) -> None:
    file.write_text(SCALING)
    request = PruneRequest(
        "uniform",
        "my net.py:build",
        "super_resolution",
        {},
        0.5,
        None,
        "embedded",
        0,
        "planned",
        ["scale=3"],
    )
    cell = build_study(request).cells()[1]
    assert (cell.task_options["scale"], cell.backbone_options) == (3, {"scale": 3})


def test_cells_of_a_task_do_not_name_a_network_file() -> None:
    cell = load_study("smoke").cells()[0]
    assert backbone_fields(cell.backbone, {}) == {"backbone": cell.backbone}
    assert "backbone_source" not in bench.training.pretrained.pretraining_inputs(cell)
