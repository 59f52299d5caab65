"""Registration, discovery and plugins; the error for an unknown name has the nearest one."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from bench.errors import ConfigError, PluginError
from bench.plugins import registry
from bench.plugins.registry import (
    BACKBONES,
    METHODS,
    TASKS,
    Registry,
    describe_unknown,
    load_plugin,
)

ROOT = Path(__file__).parents[3]


def make_class(module: str) -> type:
    return type("Mine", (), {"__module__": module})


def test_methods_and_tasks_are_found_without_being_imported_by_name() -> None:
    assert {"unpruned", "uniform", "global_l2", "mosp"} <= set(METHODS.names())
    assert "denoising" in TASKS.names()
    assert METHODS.get("unpruned").name == "unpruned"


def test_the_error_for_an_unknown_name_has_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="unknown method 'mops'; did you mean 'mosp'\\?"):
        METHODS.get("mops")


def test_the_error_for_a_name_like_no_other_has_all_known_ones() -> None:
    assert describe_unknown("task", "zzz", ["b", "a"]) == "unknown task 'zzz'; known: a, b"
    assert describe_unknown("task", "zzz", []).endswith("known: none")


def test_a_name_can_be_registered_once() -> None:
    methods: Registry[object] = Registry("method")
    methods.register("mine")(make_class("here"))
    with pytest.raises(PluginError, match="method 'mine' exists already, in here"):
        methods.register("mine")(make_class("there"))


def test_a_module_that_is_loaded_again_can_register_its_name_again() -> None:
    methods: Registry[object] = Registry("method")
    methods.register("mine")(make_class("here"))
    again = methods.register("mine")(make_class("here"))
    assert again.name == "mine"


@pytest.mark.parametrize("package", ["methods", "tasks"])
def test_the_error_for_a_package_that_shadows_ours_names_it(package: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from bench.plugins.registry import METHODS\n"
        "METHODS.names()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"ConfigError: '{package}' is taken by {tmp_path}" in done.stderr


@pytest.fixture
def clean() -> Iterator[None]:
    """Remove at the end of a test what it registered."""
    saved = [(kind, dict(kind._known), dict(kind._origins)) for kind in registry.REGISTRIES]
    yield
    registry.BROKEN.clear()
    registry._PLUGINS.clear()
    for kind, known, origins in saved:
        kind._known, kind._origins = known, origins


PLUGIN = """
from dataclasses import dataclass
from bench.contract import Method
from bench.plugins.registry import method
@method("{name}")
@dataclass(frozen=True)
class Mine(Method):
    {body}
{line}
"""


def write_plugin(
    folder: Path,
    name: str,
    body: str = "def prune(self, model, budget, trainer=None): ...",
    line: str = "",
) -> Path:
    """Write a file with one method, and with `line` at its end; return its path."""
    path = folder / f"{name}.py"
    path.write_text(PLUGIN.format(name=name, body=body, line=line))
    return path


def test_a_file_registers_a_method_and_is_its_origin(tmp_path: Path, clean: None) -> None:
    path = write_plugin(tmp_path, "mine_of_a_file")
    assert load_plugin(path) == str(path)
    assert METHODS.get("mine_of_a_file").name == "mine_of_a_file"
    assert METHODS.origin("mine_of_a_file") == str(path)
    assert registry.plugin_files() == (path,)


def test_what_a_file_changes_in_the_process_when_it_is_loaded_is_put_back(
    tmp_path: Path, clean: None
) -> None:
    line = "import torch\ntorch.set_default_dtype(torch.float64)"
    load_plugin(write_plugin(tmp_path, "mine_in_float64", line=line))
    assert torch.get_default_dtype() == torch.float32
    assert "mine_in_float64" in METHODS


def test_a_file_of_our_own_methods_is_known_by_its_module() -> None:
    assert load_plugin(ROOT / "methods" / "uniform.py") == "methods.uniform"
    assert load_plugin(ROOT / "methods" / "mosp" / "__init__.py") == "methods.mosp"


def test_a_missing_plugin_file_raises_config_error() -> None:
    with pytest.raises(
        ConfigError, match=r"there is no Python file nowhere\.py to load as a plugin"
    ):
        load_plugin("nowhere.py")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "import nowhere_to_be_found",
            "it raises ModuleNotFoundError in line 1 of broken.py: "
            "No module named 'nowhere_to_be_found'",
        ),
        ("x = (", "it raises SyntaxError in line 1 of broken.py"),
        ("raise SystemExit(3)", "it raises SystemExit in line 1 of broken.py: 3"),
        ("x = 1", 'it registers nothing; use one of @method("NAME")'),
        (
            "from bench.plugins.registry import method\n@method('mosp')\nclass Mine: ...",
            "method 'mosp' exists already, in methods.mosp",
        ),
        (
            "from bench.plugins.registry import method\n@method('mine')\nclass Mine: ...",
            "method 'mine': <class 'prunebench_file_broken",
        ),
        (
            "from bench.plugins.registry import backbone\nbackbone('mine')(int)",
            "backbone 'mine': <class 'int'> is not a torch.nn.Module",
        ),
        (
            "from bench.plugins.registry import backbone\n@backbone('unet')\ndef f(): ...",
            "backbone 'unet' exists already, in task denoising",
        ),
        (
            "from bench.plugins.registry import method\nclass Uniform: ...\n"
            "Uniform.__module__ = 'methods.uniform'\nmethod('uniform')(Uniform)",
            "method 'uniform' exists already, in methods.uniform",
        ),
        (
            "from bench.plugins.registry import backbone\n@backbone('mine')\ndef f(): ...\n"
            "from bench.runner import referee\nreferee.check_peak = print",
            "it replaces bench.runner.referee.check_peak, by which all rows are judged",
        ),
    ],
)
def test_a_broken_file_is_left_out_with_a_warning(
    content: str, words: str, tmp_path: Path, clean: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.py").write_text(content)
    load_plugin(tmp_path / "broken.py")
    assert f"the plugin {tmp_path / 'broken.py'} is left out: {words}" in caplog.text
    assert "mosp" in METHODS.names()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "def prune(self, model): ...",
            r"prune\(self, model\) cannot be called as "
            r"prune\(self, model, budget, trainer\) of bench\.contract",
        ),
        ("pass", "Mine lacks prune; write it as Method in bench.contract does"),
    ],
)
def test_the_error_for_a_wrong_signature_has_the_right_one(
    body: str, words: str, tmp_path: Path, clean: None
) -> None:
    origin = load_plugin(write_plugin(tmp_path, "odd", body))
    assert re.search(f"method 'odd': {words}", registry.BROKEN[origin])


def test_a_plugin_that_fails_registers_nothing(tmp_path: Path, clean: None) -> None:
    load_plugin(write_plugin(tmp_path, "half", line="1 / 0"))
    with pytest.raises(ConfigError, match=r"unknown method 'half'; .*; not loaded: .*half\.py"):
        METHODS.get("half")


def test_one_broken_plugin_does_not_stop_the_others(tmp_path: Path, clean: None) -> None:
    load_plugin(write_plugin(tmp_path, "broken", line="1 / 0"))
    load_plugin(write_plugin(tmp_path, "whole"))
    assert "whole" in METHODS.names()


def test_the_error_for_a_broken_package_names_it(
    monkeypatch: pytest.MonkeyPatch, clean: None
) -> None:
    points = {
        "prunebench.methods": [EntryPoint("mine", "nowhere_to_be_found:Mine", "prunebench.methods")]
    }
    monkeypatch.setattr(registry, "entry_points", lambda group: points.get(group, []))
    registry.discover.__wrapped__()
    broken = registry.BROKEN["nowhere_to_be_found:Mine"]
    assert broken == "it raises ModuleNotFoundError: No module named 'nowhere_to_be_found'"


def test_a_backbone_is_anything_that_builds_a_network(clean: None) -> None:
    registry.backbone("narrow_conv")(lambda width=8: torch.nn.Conv2d(3, 3, width))
    assert isinstance(BACKBONES.get("narrow_conv")(1), torch.nn.Conv2d)
