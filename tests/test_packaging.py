"""Installation: declared dependencies, exact pins, the Makefile, and a complete wheel."""

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("prunebench", "bench", "methods", "tasks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DISTRIBUTION = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "torch_pruning": "torch-pruning",
    "tvm": "apache-tvm",
}


def pins() -> dict[str, str]:
    """Distribution -> exact version, from constraints.txt."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines)
    }


def declared() -> list[Requirement]:
    extras = PROJECT.get("optional-dependencies", {}).values()
    return [Requirement(text) for texts in (PROJECT["dependencies"], *extras) for text in texts]


def test_every_line_of_the_constraints_is_one_exact_public_version() -> None:
    odd = [
        f"{name}=={version}"
        for name, version in pins().items()
        if not re.fullmatch(r"\d+(\.\w+)*", version)
    ]
    assert odd == []


def test_every_declared_dependency_is_pinned_within_its_range() -> None:
    wrong = [
        str(need)
        for need in declared()
        if pins().get(canonicalize_name(need.name), "") not in need.specifier
    ]
    assert wrong == []


def test_every_imported_library_is_declared() -> None:
    imported = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        imported |= {
            alias.name.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        imported |= {
            node.module.partition(".")[0]
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module
        }
    outside = imported - sys.stdlib_module_names - set(PACKAGES)
    names = {canonicalize_name(need.name) for need in declared()}
    assert (
        sorted(
            library
            for library in outside
            if canonicalize_name(DISTRIBUTION.get(library, library)) not in names
        )
        == []
    )


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_lists_its_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("help", "table1", "smoke", "test", "test-slow", "lint", "docs", "pretrained"):
        assert f"make {target} " in listed


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_asks_for_a_python_that_is_new_enough(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        ["make", "smoke", "PYTHON=false"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "prunebench needs Python 3.11 or newer, and 'false' is not" in done.stderr
    assert "name another: make smoke PYTHON=" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, built by `python -m build`."""
    folder = tmp_path_factory.mktemp("sources")
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out", "."]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    (path,) = (folder / "out").glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_every_module_study_and_marker_of_types(wheel: Path) -> None:
    kinds = ("*.py", "*.toml", "py.typed")
    files = [
        file for package in PACKAGES for kind in kinds for file in (ROOT / package).rglob(kind)
    ]
    files += (ROOT / "bench/pretrained_networks").glob("*")
    shipped = {file.relative_to(ROOT).as_posix() for file in files}
    assert shipped - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.slow
def test_the_wheel_runs_a_study_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # The dependencies are those of this environment; its editable prunebench is not among them,
    # because Python does not read the .pth files of a folder that a .pth file names.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    install = [python, "-m", "pip", "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, capture_output=True, check=True)
    where = [python, "-c", "import bench; print(bench.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(site)
    smoke = [tmp_path / "venv" / "bin" / "prunebench", "run", "smoke", "--no-mlflow"]
    done = subprocess.run(smoke, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mosp" in done.stdout
