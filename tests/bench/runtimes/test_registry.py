"""The runtimes by name: what is missing is named, and every list of them agrees."""

import tomllib
from pathlib import Path
from typing import get_args

import pytest

from bench.cli import measure, parser
from bench.contract import Convention
from bench.errors import ConfigError
from bench.memory.profile import peak_memory
from bench.runner.measure import EXECUTORS
from bench.runtimes import registry
from bench.runtimes.registry import PLANNERS, RUNTIMES, load_planner, load_runtime
from tests.networks.small import SHAPE, unet

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_missing_modules", lambda name: RUNTIMES[name].modules)


@pytest.mark.usefixtures("nothing_installed")
def test_a_runtime_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ConfigError, match=r"MNN needs MNN and onnx.*prunebench\[mnn\]'"):
        load_runtime("mnn")
    with pytest.raises(ConfigError, match=r"pip install 'prunebench\[executorch\]'"):
        peak_memory(unet(), SHAPE, "executorch")
    assert registry.installed_runtimes() == []


def test_an_unknown_runtime_is_told_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'openvino'"):
        load_runtime("openvin")


def test_a_runtime_that_does_not_plan_is_no_convention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_missing_modules", lambda name: [])
    with pytest.raises(ConfigError, match=r"OpenVINO does not plan.*executorch, onnxsim"):
        load_planner("openvino")


def test_all_lists_of_runtimes_agree() -> None:
    assert set(get_args(Convention)) == {"planned", "eager", *PLANNERS}
    assert PLANNERS == parser.RUNTIME_CONVENTIONS
    assert EXECUTORS == measure.EXECUTORS
    extras = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(RUNTIMES) < set(extras)
