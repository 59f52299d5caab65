"""Names: bound once, found by discovery, and when they are wrong the answer names the nearest."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.errors import ConfigError, PluginError
from bench.registry import METHODS, TASKS, Registry, unknown

ROOT = Path(__file__).parent.parent.parent


def defined_in(module: str) -> type:
    return type("Mine", (), {"__module__": module})


def test_methods_and_tasks_are_found_without_being_imported_by_name() -> None:
    assert {"unpruned", "uniform", "global_l2", "mosp"} <= set(METHODS.names())
    assert "denoising" in TASKS.names()
    assert METHODS.get("unpruned").name == "unpruned"


def test_an_unknown_name_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="unknown method 'mops'; did you mean 'mosp'\\?"):
        METHODS.get("mops")


def test_a_name_that_is_like_none_is_answered_with_all() -> None:
    assert unknown("task", "zzz", ["b", "a"]) == "unknown task 'zzz'; known: a, b"
    assert unknown("task", "zzz", []).endswith("known: none")


def test_a_name_is_bound_once() -> None:
    methods: Registry[object] = Registry("method")
    methods.register("mine")(defined_in("here"))
    with pytest.raises(PluginError, match="method 'mine' of there is already the name of one in here"):
        methods.register("mine")(defined_in("there"))


def test_a_module_that_is_loaded_again_may_bind_its_own_name_again() -> None:
    methods: Registry[object] = Registry("method")
    methods.register("mine")(defined_in("here"))
    again = methods.register("mine")(defined_in("here"))
    assert again.name == "mine"


@pytest.mark.parametrize("package", ["methods", "tasks"])
def test_a_package_of_the_user_that_shadows_ours_is_named(package: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\nfrom bench.registry import METHODS\nMETHODS.names()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"ConfigError: '{package}' is taken by {tmp_path}" in done.stderr


def test_a_broken_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name, value = "mine", "nowhere:Mine"

        def load(self) -> None:
            raise ModuleNotFoundError("nowhere")

    monkeypatch.setattr(registry, "entry_points", lambda group: [Broken()])
    with pytest.raises(PluginError, match=r"the plugin 'mine' \(nowhere:Mine\) cannot be loaded: .*nowhere"):
        registry.discover.__wrapped__()
