"""The template of a new method keeps the contract, and a harmful name is refused."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.plugins.registry import METHODS
from bench.testing.fixtures import RECIPE, SmallTask, small_budgets, small_network
from bench.testing.template import write_template
from bench.training.trainer import TaskTrainer

ROOT = Path(__file__).parents[3]


def run_pytest(test: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a written test in its folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name]
    return subprocess.run(
        [*command, *arguments],
        cwd=test.parent,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_written_test_passes_in_an_empty_folder(tmp_path: Path) -> None:
    method, test = write_template("my_own", tmp_path / "new")
    assert (method, test) == (tmp_path / "new/my_own.py", tmp_path / "new/test_my_own.py")
    done = run_pytest(test)
    assert done.returncode == 0, done.stdout
    assert "28 passed" in done.stdout


def test_the_written_files_are_tidy_and_import_the_front_door_only(tmp_path: Path) -> None:
    paths = write_template("my_own", tmp_path)
    text = "".join(path.read_text() for path in paths)
    assert max(map(len, text.splitlines())) <= 100
    assert "from prunebench import" in text and "bench." not in text
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_in_our_methods_the_test_goes_to_the_tests_of_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.testing.template.ROOT", tmp_path)
    method, test = write_template("my_own", tmp_path / "methods")
    assert method == tmp_path / "methods/my_own.py"
    assert test == tmp_path / "tests/methods/test_my_own.py"
    assert "from methods.my_own import MyOwnMethod" in test.read_text()


@pytest.mark.parametrize(
    ("name", "title"), [("my_method", "MyMethod"), ("method", "OwnMethod"), ("a", "AMethod")]
)
def test_the_class_is_called_a_method_once(name: str, title: str, tmp_path: Path) -> None:
    method, _ = write_template(name, tmp_path)
    assert f"class {title}(Method):" in method.read_text()


def test_the_written_test_fails_when_the_method_breaks_a_promise(tmp_path: Path) -> None:
    method, test = write_template("my_own", tmp_path)
    method.write_text(method.read_text().replace("Author, Title, Venue Year", ""))
    done = run_pytest(test, "-k", "source or typed")
    assert "1 failed, 1 passed" in done.stdout
    assert "test_cites_its_source" in done.stdout


def test_the_written_method_trains_as_long_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(METHODS, "_known", dict(METHODS._known))  # forgets the name afterwards
    spec = importlib.util.spec_from_file_location("trains", write_template("trains", tmp_path)[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    method = module.TrainsMethod()
    network = small_network()
    recipe = replace(RECIPE, matched_steps=0)
    trainer = TaskTrainer(SmallTask(), "embedded", recipe, seed=0)
    method.prune(network, small_budgets(network, 0.7)[0], trainer)
    assert (
        trainer.meter.steps["search"] == method.expected_steps(recipe) - recipe.finetune_steps > 0
    )


@pytest.mark.parametrize("name", ["sum-up", "2nd", "class", "Mine", "", "a/b", "method\n"])
def test_what_python_cannot_import_is_no_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use lower-case letters, digits and underscores"):
        write_template(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_is_there_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is a method 'uniform' already"):
        write_template("uniform", tmp_path)


def test_a_name_that_would_hide_a_module_is_refused(tmp_path: Path) -> None:
    assert importlib.util.find_spec("random") is not None
    with pytest.raises(ConfigError, match="'random' is a module already"):
        write_template("random", tmp_path)


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"test_mine\.py exists already"):
        write_template("mine", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"mine\.py cannot be written: .*; choose another folder"):
        write_template("mine", tmp_path / "file")
