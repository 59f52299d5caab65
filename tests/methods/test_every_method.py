"""Promises of every method, on small widths of all backbones at three budgets.

The networks are plain, tied by additions, and with a PixelShuffle head.
"""

import json
import subprocess
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import nn

from bench.contract import Budget, Method, Pruned, Recipe
from bench.export import saved
from bench.memory.profile import peak_memory
from bench.plugins.options import configure
from bench.plugins.registry import METHODS
from bench.runner.referee import referee
from bench.surgery.channel_scores import Importance
from bench.training.trainer import TaskTrainer
from tests.fakes import AnyScale
from tests.networks.small import SHAPE

ROOT = Path(__file__).parents[2]
NAMES = [
    name
    for name in METHODS.names()
    if METHODS.get(name).__module__.startswith("methods.") and name != "unpruned"
]
OPTIONS: dict[str, dict[str, Any]] = {  # for networks this small
    "autoslim": {"groups": 2, "crops": 2, "epochs": 2},
    "random_search": {"samples": 4},
    "us_net": {"least": 0.1},
}
TRAINED_STARTS: dict[str, dict[str, str]] = {  # where the default is new weights
    "dhp": {"start": "pretrained"},
    "s_net": {"start": "pretrained"},
    "uniform": {"start": "slice"},
    "us_net": {"start": "pretrained"},
}
BACKBONES = {
    "small_unet": {"width": 4},
    "small_res_unet": {"width": 4, "levels": 3},
    "small_edsr": {"width": 6, "blocks": 2},
}
RATIOS = (0.9, 0.7, 0.5)
RECIPE = Recipe(
    patch=32,
    batch=2,
    pretrain_steps=6,
    adapt_steps=2,
    finetune_steps=6,
    matched_steps=6,
    steps_per_epoch=1,
    calibration_crops=4,
)
ORDERING = [
    name for name in NAMES if get_type_hints(METHODS.get(name)).get("importance") == Importance
]
every_method = pytest.mark.parametrize("name", NAMES)
every_network = pytest.mark.parametrize("backbone", BACKBONES)
every_ordering_method = pytest.mark.parametrize("name", ORDERING)


def make_method(name: str, **options: Any) -> Method:
    return configure(METHODS.get(name), OPTIONS.get(name, {}) | options, name)


@cache
def prune_by(name: str, importance: Importance) -> Pruned:
    """Prune the small U-Net to half of its peak by a criterion; nothing starts from scratch."""
    model = network("small_unet")
    method = make_method(name, importance=importance, **TRAINED_STARTS.get(name, {}))
    budget = Budget(peak_memory(model, SHAPE) // 2, SHAPE)
    torch.manual_seed(0)
    pruned = method.prune(model, budget, trainer())
    referee(pruned.model, model, budget, name)
    return pruned


def trainer() -> TaskTrainer:
    return TaskTrainer(AnyScale(), "embedded", RECIPE, seed=0)


@cache
def network(backbone: str) -> nn.Module:
    """A network with fixed weights, in eval mode; a test that changes it breaks other tests."""
    model = AnyScale().build(backbone, **BACKBONES[backbone])
    AnyScale().initialise(model, torch.Generator().manual_seed(1))
    return model.eval()


@cache
def sweep_results(name: str, backbone: str) -> dict[Budget, Pruned]:
    """The networks of one sweep, by budget."""
    model = network(backbone)
    budgets = [Budget(int(ratio * peak_memory(model, SHAPE)), SHAPE) for ratio in RATIOS]
    torch.manual_seed(0)
    return {
        budget: outcome
        for budget, outcome in make_method(name).sweep(model, budgets, trainer())
        if isinstance(outcome, Pruned)
    }


def has_same_weights(network: nn.Module, other: nn.Module) -> bool:
    left = network.state_dict()
    right = other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@every_method
@every_network
def test_every_budget_gets_a_plain_network_that_fits_it_and_keeps_the_shape_of_the_output(
    name: str, backbone: str
) -> None:
    assert len(sweep_results(name, backbone)) == len(RATIOS)
    for budget, pruned in sweep_results(name, backbone).items():
        referee(pruned.model, network(backbone), budget, name)


@every_method
@every_network
def test_a_budget_alone_gets_the_network_that_it_gets_in_a_sweep(name: str, backbone: str) -> None:
    for budget, expected in sweep_results(name, backbone).items():
        torch.manual_seed(0)
        alone = make_method(name).prune(network(backbone), budget, trainer())
        assert (dict(alone.kept), alone.finish) == (dict(expected.kept), expected.finish)
        assert has_same_weights(alone.model, expected.model)


@every_method
@every_network
def test_the_network_that_is_passed_in_is_untouched(name: str, backbone: str) -> None:
    before = deepcopy(network(backbone))
    sweep_results(name, backbone)
    after = network(backbone)
    assert has_same_weights(before, after)
    assert not after.training
    assert list(dict(before.named_modules())) == list(dict(after.named_modules()))


@pytest.mark.parametrize(
    ("name", "importance"),
    [
        (name, importance)
        for name in ORDERING
        for importance in get_args(Importance)
        if name in ("global_l2", "mosp") or importance in ("random", "gradient")
    ],
)
def test_every_criterion_meets_the_budget_and_leaves_the_network_untouched(
    name: str, importance: Importance
) -> None:
    before = deepcopy(network("small_unet"))
    assert prune_by(name, importance).kept
    assert has_same_weights(before, network("small_unet"))
    assert not network("small_unet").training


@every_ordering_method
def test_chance_keeps_other_channels_than_the_gradient(name: str) -> None:
    kept = prune_by(name, "random").kept
    assert kept == prune_by.__wrapped__(name, "random").kept != prune_by(name, "gradient").kept


@every_method
def test_every_network_is_smaller_in_channels_that_it_names(name: str) -> None:
    for backbone in BACKBONES:
        for pruned in sweep_results(name, backbone).values():
            assert pruned.kept
            assert all(list(indices) == sorted(set(indices)) for indices in pruned.kept.values())


@every_network
def test_methods_with_a_uniform_share_agree_on_every_width(backbone: str) -> None:
    sweeps = [sweep_results(name, backbone) for name in ("uniform", "group_lasso", "assl")]
    for budget in sweeps[0]:
        kept = [sweep[budget].kept for sweep in sweeps]
        widths = [{unit: len(indices) for unit, indices in units.items()} for units in kept]
        assert widths[0] == widths[1] == widths[2]


@every_network
@pytest.mark.parametrize("name", ["s_net", "us_net"])
def test_slimmable_networks_must_be_stored_whole(name: str, backbone: str) -> None:
    whole = sum(weight.numel() for weight in network(backbone).parameters())
    for pruned in sweep_results(name, backbone).values():
        assert sum(weight.numel() for weight in pruned.stored_parameters.parameters()) == whole


def test_one_fresh_process_loads_everything_that_was_saved(tmp_path: Path) -> None:
    probe = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5))
    expected = {}
    for name in NAMES:
        for backbone, options in BACKBONES.items():
            for budget, pruned in sweep_results(name, backbone).items():
                folder = tmp_path / f"{name}-{backbone}-{budget.peak_bytes}"
                saved.save(
                    folder,
                    pruned.model,
                    task="fake",
                    task_options={},
                    backbone=backbone,
                    backbone_options=options,
                    kept=pruned.kept,
                    inserted=pruned.inserted,
                )
                with torch.no_grad():
                    expected[folder.name] = float(pruned.model.eval()(probe).double().sum())
    code = (
        "import json, sys, torch, tests.fakes\n"
        "torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from bench.export.saved import load\n"
        f"probe = torch.rand({SHAPE}, generator=torch.Generator().manual_seed(5))\n"
        "with torch.no_grad():\n"
        "    sums = {\n"
        "        folder.name: float(load(folder).eval()(probe).double().sum())\n"
        "        for folder in Path(sys.argv[1]).iterdir()\n"
        "    }\n"
        "print(json.dumps(sums))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(expected, rel=1e-5, abs=1e-4)
