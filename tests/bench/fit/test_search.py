"""fit finds ways within memory and time, and with data chooses, trains and tests the best one."""

import doctest
from pathlib import Path

import pytest
import torch

import bench.fit.search
from bench.errors import ConfigError, Infeasible
from bench.fit.saving import describe_run, save
from bench.fit.search import Fit, fit
from bench.fit.ways import list_networks
from tests.fakes import FakeTask, Tiny, tiny_peak_bytes

SHAPE = (1, 3, 32, 32)
HALF = tiny_peak_bytes(8, SHAPE) * 3 // 4
BELOW_BUFFERS = 4 * 32 * 32 * 3 - 2**11  # only pruned networks in half precision fit


@pytest.fixture(scope="module")
def pruned() -> Fit:
    torch.manual_seed(0)
    return fit(Tiny(8), BELOW_BUFFERS, shape=SHAPE, data="fake", task=FakeTask(), method="narrow")


def test_the_example_of_the_module_runs() -> None:
    results = doctest.testmod(bench.fit.search)
    assert results.attempted > 0 and results.failed == 0


def test_a_limit_of_seconds_that_no_way_reaches_says_what_the_fastest_takes() -> None:
    with pytest.raises(Infeasible, match=r"nothing fits 0\.0 MiB in 1e-09 s: the fastest takes"):
        fit(Tiny(8), HALF, shape=SHAPE, seconds=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": 0.5}, "memory = 0.5; give bytes"),
        ({"shape": (3, 32, 32)}, r"shape \(3, 32, 32\) is not \(N, C, H, W\)"),
        ({"halo": 2.5}, r"a halo of 2\.5 pixels was asked for; give 0 or more, a whole number"),
        ({"executor": "onnx"}, "executor 'onnx' is not known; give one of lean, pytorch"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(arguments, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(Tiny(8), **({"memory": HALF, "shape": SHAPE} | arguments))


def test_pruned_networks_have_multiples_of_channels_if_the_recipe_asks_for_them() -> None:
    found = fit(Tiny(16), HALF, shape=SHAPE, recipe={"channel_multiple": 4})
    networks, _ = list_networks(Tiny(16), found.budget, "lean")
    assert {network.first.out_channels for network in networks.values()} == {4, 8, 12, 16}


def test_ways_that_take_longer_than_the_limit_do_not_fit() -> None:
    found = fit(Tiny(8), HALF, shape=SHAPE, seconds=60.0)
    assert found.front and all(way.is_measured for way in found.front)
    limit = min(way.seconds for way in found.front) * 1.0001
    slower = [way for way in found.ways if not way.obstacle and way.seconds > limit]
    limited = bench.fit.search._limit_seconds(found.ways, limit, found.budget)
    assert slower and sum("takes longer" in way.obstacle for way in limited) == len(slower)


def test_nothing_is_chosen_without_data(tmp_path: Path) -> None:
    found = fit(Tiny(8), HALF, shape=SHAPE)
    assert found.chosen is None and found.network is None
    with pytest.raises(ConfigError, match="nothing was chosen, because no data were given"):
        save(found, tmp_path)


def test_ways_are_rated_without_the_test_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeTask, "test_sets", lambda *_: pytest.fail("a test photograph"))
    monkeypatch.setattr("bench.fit.search._choose", lambda found, *_: found)
    found = fit(Tiny(8), HALF, shape=SHAPE, data="fake", task=FakeTask())
    assert all((way.psnr_db is None) == bool(way.obstacle) for way in found.ways)


def test_the_way_of_the_best_quality_is_chosen_and_tested_as_it_is_run() -> None:
    found = fit(Tiny(8), HALF, shape=SHAPE, data="fake", task=FakeTask(), method="narrow")
    untrained = [way.psnr_db for way in found.ways if way.psnr_db and not way.is_trained]
    assert found.chosen.is_trained or found.chosen.psnr_db == pytest.approx(
        max(untrained), abs=0.01
    )
    assert found.chosen.peak_bytes <= HALF and set(found.scores) == {"psnr_db", "ssim"}


def test_a_pruned_network_is_trained_and_planned_anew(pruned: Fit) -> None:
    assert pruned.chosen.ratio < 1 and pruned.chosen.is_trained
    assert pruned.result.steps == {"finetune": 4}
    assert pruned.chosen.peak_bytes <= BELOW_BUFFERS
    assert pruned.network.first.weight.dtype == torch.bfloat16


def test_the_printed_lines_run_what_was_saved(pruned: Fit, tmp_path: Path) -> None:
    save(pruned, tmp_path)
    image = torch.rand(SHAPE).bfloat16()
    names = {"image": image}
    exec(describe_run(pruned, tmp_path), names)
    with torch.inference_mode():
        expected = pruned.network(image)
    assert torch.allclose(names["restored"].float(), expected.float(), atol=1e-2)
    assert (tmp_path / "fit.json").is_file()


def test_the_printed_lines_run_tiles(tmp_path: Path) -> None:
    network = Tiny(8)
    found = fit(network, HALF, shape=SHAPE, data="fake", task=FakeTask(), executor="pytorch")
    way = next(way for way in found.ways if way.name == "exact tiles" and not way.obstacle)
    found = bench.fit.search.replace(found, chosen=way, network=network.eval())
    save(found, tmp_path)
    names = {"image": torch.rand(SHAPE)}
    exec(describe_run(found, tmp_path), names)
    with torch.inference_mode():
        assert torch.allclose(names["restored"], network(names["image"]), atol=1e-5)
