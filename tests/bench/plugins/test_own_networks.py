"""Networks of the user's own in studies: rows like any others, keys that follow the file, one line for what does not fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bench.training.pretrained
from bench.errors import ConfigError
from bench.export.saved import load
from bench.plugins.backbones import initialise, placed
from bench.plugins.options import cell_task
from bench.runner.executors.processes import Processes
from bench.runner.executors.serial import Serial
from bench.runner.job import run_job
from bench.runner.run import check_inputs, run_study
from bench.runner.single import Wish, folder_name, prune_once, study_of
from bench.study.catalogue import built
from bench.study.study import Study, load_study
from bench.training.evaluation import evaluate, means
from bench.training.pretrained import pretrained, pretrained_key
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
        return super().forward(nn.functional.max_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3))

class Strange(Net):
    def forward(self, x):
        return torch.special.erf(super().forward(x))

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
    """own("Net", ...): the study of the fake task with that network of the file."""
    return lambda name, *changes, **given: study(
        f"backbones=['my net.py:{name}']", *QUICK, *changes, **given
    )


def test_a_network_file_gives_rows_with_its_options(own, store) -> None:
    asked = own("Net", "backbones=[{backbone='my net.py:Net', width=6}]")
    records = run_study(asked, store, Serial())
    assert [record.status for record in records] == ["done", "done"], [
        record.reason for record in records
    ]
    cell = records[1].cell
    assert (cell.backbone, cell.backbone_options) == (
        "my net.py:Net",
        {"width": 6, "out": 3, "channels": 3, "norm": False},
    )
    assert records[1].peak_bytes <= 0.6 * records[0].peak_bytes and records[1].steps == {
        "finetune": 4
    }
    assert run_study(asked, store, Serial()) == records


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
    records = run_study(load_study(tmp_path / "real.toml"), store, Processes(2))
    assert [record.status for record in records] == ["done"] * 2, [
        record.reason for record in records
    ]


def test_a_changed_file_is_a_new_question_and_a_moved_one_is_not(
    own, file: Path, tmp_path: Path
) -> None:
    cell = own("Net").cells()[0]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / file.name).write_text(NET)
    moved = own("Net", "backbones=['elsewhere/my net.py:Net']").cells()[0]
    assert (moved.key, pretrained_key(moved)) == (
        cell.key,
        pretrained_key(cell),
    ) and moved.backbone_folder != cell.backbone_folder
    file.write_text(f"{NET}\n# changed\n")
    changed = own("Net").cells()[0]
    assert changed.key != cell.key and pretrained_key(changed) != pretrained_key(cell)


def test_without_pretraining_it_is_taken_as_the_file_builds_it(
    own, file: Path, tmp_path: Path
) -> None:
    file.write_text(
        f"{NET}\ndef trained():\n    net = Net()\n    net.first.weight.data.fill_(0.25)\n    return net\n"
    )
    cell = own("trained", "recipe.pretrain_steps=0").cells()[0]
    taken = pretrained(cell_task(cell), cell, [tmp_path / "a"])
    assert torch.equal(taken.first.weight, torch.full_like(taken.first.weight, 0.25))


def test_pretraining_begins_with_the_weights_that_the_file_draws_by_the_seed(
    own, tmp_path: Path
) -> None:
    cell = own("Net", "recipe.pretrain_steps=0").cells()[0]
    first, again = (
        pretrained(cell_task(cell), cell, [tmp_path / name]).first.weight for name in "ab"
    )
    other = pretrained(cell_task(cell), replace(cell, seed=1), [tmp_path / "a"]).first.weight
    assert torch.equal(first, again) and not torch.equal(first, other)
    trained = replace(cell, recipe=replace(cell.recipe, pretrain_steps=1, pretrain_rate=1e-6))
    assert torch.allclose(
        pretrained(cell_task(cell), trained, [tmp_path / "a"]).first.weight, first, atol=1e-4
    )


def test_trained_anew_it_begins_with_the_weights_that_its_layers_give_themselves(
    own, store, monkeypatch
) -> None:
    begun: list[torch.Tensor] = []

    def refuse(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        raise AssertionError("the rule of the task is for its own backbones")

    monkeypatch.setattr("tests.fakes.FakeTask.initialise", refuse)
    monkeypatch.setattr(
        "bench.runner.job.initialise",
        lambda model, generator: (
            initialise(model, generator),
            begun.append(model.out.bias.clone()),
        ),
    )
    scratch = "methods=[{method='uniform', start='scratch'}]"
    assert [record.status for record in run_study(own("Net", scratch), store, Serial())] == ["done"]
    assert len(begun) == 1 and 0 < begun[0].abs().max() < 1


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("nowhere.py:Net", "there is no file nowhere.py"),
        ("my net.py:Nett", "unknown name in my net.py 'Nett'; did you mean 'Net'"),
        ("my net.py:raises", "raises ValueError in line 41 of my net.py: two"),
        (
            "my net.py:Listing",
            "my net.py:Listing gives a list for an input of 2x3x16x16; task fake wants 2x3x16x16",
        ),
        ("my net.py:frozen", "has no weight that can be trained"),
        ("my net.py:hooked", "has a hook or a parametrisation on 'first'"),
        (
            "my net.py:detached",
            "cannot be trained: RuntimeError: element 0 of tensors does not require grad",
        ),
        ("my net.py:Deciding", "Deciding cannot be traced, my net.py:22, write its forward"),
        (
            "my net.py:Strange",
            "the operator 'special_erf' (at special_erf, my net.py:30) is not in the table",
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
def test_what_does_not_fit_is_one_line_before_anything_is_trained(
    name: str, answer: str, own, store
) -> None:
    with pytest.raises(ConfigError) as refused:
        run_study(
            own("Net", f"backbones=[{name if name[0] == '{' else repr(name)}]"), store, Serial()
        )
    assert answer in str(refused.value) and "\n" not in str(refused.value)
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


def test_a_file_that_is_changed_or_lost_while_a_study_runs_is_failed_rows(
    own, file: Path, store
) -> None:
    asked = own("Net")
    job = asked.jobs(asked.cells())[1]
    file.write_text(NET + "\n# changed\n")
    changed = list(run_job(job, store))
    file.unlink()
    lost = list(run_job(job, store))
    assert [record.status for record in changed + lost] == ["failed", "failed"]
    assert (
        "was changed after the run began" in changed[0].reason
        and "there is no file" in lost[0].reason
    )


def test_one_network_is_pruned_for_the_task_that_is_named(file: Path) -> None:
    def wish(task: str | None, *texts: str) -> Wish:
        return Wish(
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
        match=r"my net\.py:Net is a network of your own, so say what it is for: --task .*denoising",
    ):
        study_of(wish(None))
    cell = study_of(wish("fake", "norm=true", "train_steps=1", "noise=0.2")).cells()[1]
    assert (
        cell.backbone_options["norm"],
        cell.method_options["train_steps"],
        cell.task_options,
    ) == (True, 1, {"noise": 0.2})
    assert int(cell.ratio * 4 * 32 * 32 * 9) == 4 * 32 * 32 * 8
    assert folder_name(cell.backbone, "narrow", "6MiB") == "my_net-Net-narrow-6MiB"


def test_what_was_pruned_is_loaded_without_the_file(file: Path, tmp_path: Path) -> None:
    quick = ("recipe.finetune_steps=1", "recipe.pretrain_steps=0")
    wish = Wish(
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
    unpruned, pruned = prune_once(wish, tmp_path / "small", tmp_path / "work")
    file.unlink()
    spec = json.loads((tmp_path / "small" / "spec.json").read_text())
    assert (
        spec.keys() == {"schema", "graph", "sha256", "checksum"}
        and pruned.peak_bytes <= 0.6 * unpruned.peak_bytes
    )
    assert means(evaluate(FakeTask(), load(tmp_path / "small"), "embedded")) == pytest.approx(
        pruned.means
    )


def test_a_network_of_a_task_is_built_with_what_the_task_measures(file: Path) -> None:
    model, shape = built("my net.py:Net", "fake", {"width": 5, "noise": 0.2})
    assert (model.first.out_channels, shape) == (5, FakeTask.measured_at)


def test_an_option_that_the_task_has_too_goes_to_both(file: Path) -> None:
    file.write_text(
        "from torch import nn\n\n\ndef build(scale=2):\n    return nn.Sequential(nn.Conv2d(3, 3 * scale**2, 1), nn.PixelShuffle(scale))\n"
    )
    wish = Wish(
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
    cell = study_of(wish).cells()[1]
    assert (cell.task_options, cell.backbone_options) == ({"scale": 3}, {"scale": 3})


def test_the_shipped_networks_are_still_found() -> None:
    cell = next(cell for cell in load_study("smoke").cells())
    assert placed(cell.backbone, {}) == {"backbone": cell.backbone}
    assert "backbone_source" not in bench.training.pretrained.question(cell)
