"""The hash of a method: of its own code, and of the files that it imports from beside it."""

import importlib
import sys
from pathlib import Path

import pytest

from bench.plugins.registry import METHODS, load_plugin
from bench.plugins.source_files import collect_sources, method_source, normalize_code
from tests.fakes import Narrow

FILES = {
    "beside": {"m.py": "import h\n", "h.py": "x = 1\n"},
    "in a function": {"m.py": "def f():\n    from h import x\n", "h.py": "x = 1\n"},
    "of a helper": {"m.py": "import a\n", "a.py": "import h\n", "h.py": "x = 1\n"},
    "in a package beside": {
        "m.py": "from a import part\n",
        "a/__init__.py": "",
        "a/part.py": "",
        "a/h.py": "x = 1\n",
    },
    "by a made name": {"m.py": "import importlib\nimportlib.import_module('h')\n", "h.py": "x = 1"},
}
PACKAGES = {
    "relative": {"m.py": "from . import h\n"},
    "of a relative name": {"m.py": "from .h import x\n"},
    "absolute": {"m.py": "import plug.h\n"},
    "of a sister": {"m.py": "from .part.a import y\n", "part/a.py": "from ..h import x as y\n"},
}
CLASS = "class Plug: ...\n"
LENDER = """
from dataclasses import dataclass
import lent
from bench.plugins.registry import method
from tests.fakes import Narrow

@method("lender")
@dataclass(frozen=True)
class Lender(Narrow): ...
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("where", FILES)
def test_the_hash_of_a_file_covers_its_helper(where: str, tmp_path: Path) -> None:
    write(tmp_path, FILES[where] | {"unused.py": ""})
    (helper,) = tmp_path.rglob("h.py")
    found = collect_sources([tmp_path / "m.py"], tmp_path)
    assert helper in found and tmp_path / "unused.py" not in found


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("way", PACKAGES)
def test_the_hash_of_a_module_of_a_package_covers_its_helper(
    way: str, init: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "plug", {"part/a.py": "", "h.py": "x = 1\n", "unused.py": ""} | PACKAGES[way])
    if init:
        write(tmp_path / "plug", {"__init__.py": "", "part/__init__.py": ""})
    with (tmp_path / "plug" / "m.py").open("a") as file:
        file.write(CLASS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "plug"]:
        monkeypatch.delitem(sys.modules, name)
    cls = importlib.import_module("plug.m").Plug
    before = method_source(cls)
    (tmp_path / "plug" / "unused.py").write_text("x = 2\n")
    assert method_source(cls) == before
    (tmp_path / "plug" / "h.py").write_text("x = 2\n")
    assert method_source(cls) != before


def test_a_changed_helper_of_a_plugin_makes_another_hash(tmp_path: Path) -> None:
    write(tmp_path, {"lender.py": LENDER, "lent.py": "x = 1\n"})
    origin = load_plugin(tmp_path / "lender.py")
    cls = METHODS.get("lender")
    METHODS.forget(origin)
    before = method_source(cls)
    (tmp_path / "lent.py").write_text("x = 1  # the same code\n")
    assert method_source(cls) == before
    (tmp_path / "lent.py").write_text("x = 2\n")
    assert method_source(cls) != before


def test_the_hash_of_a_package_covers_all_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "whole", {"__init__.py": CLASS, "part.py": "x = 1\n"})
    monkeypatch.syspath_prepend(tmp_path)
    cls = importlib.import_module("whole").Plug
    before = method_source(cls)
    (tmp_path / "whole" / "part.py").write_text("x = 2\n")
    assert method_source(cls) != before and method_source(Narrow) == method_source(Narrow)


def test_what_lies_beside_an_installed_file_is_not_all_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    write(folder, {"m.py": "import torch\n", "torch/__init__.py": ""})
    assert collect_sources([folder / "m.py"], folder) == {folder / "m.py"}


CODE = """from bench.surgery import remove as cut


def f(a, b):
    return cut(a) + b
"""
SAME_HASH = {
    "comments": CODE.replace("return", "# Why.\n    return"),
    "docstrings": (
        '"""A file."""\n' + CODE.replace("    return", '    """A function."""\n    return')
    ),
    "formatting": CODE.replace("(a, b)", "(\n    a,\n    b,\n)").replace("cut(a)", "(cut( a ))"),
    "departures": CODE + "departures: tuple[str, ...] = ('a text',)\n",
    "departures without a type": CODE + "departures = ('a text',)\n",
    "import paths": "import os\n" + CODE.replace("bench.surgery", "bench.elsewhere"),
}
OTHER_HASH = {
    "an operator": CODE.replace("+ b", "- b"),
    "a default": CODE.replace("b)", "b=1)"),
    "what an alias stands for": CODE.replace("remove as cut", "insert as cut"),
}


def _normalize(code: str, folder: Path) -> str:
    (folder / "f.py").write_text(code)
    return normalize_code(folder / "f.py")


@pytest.mark.parametrize("change", SAME_HASH)
def test_the_hash_of_a_method_does_not_depend_on(change: str, tmp_path: Path) -> None:
    assert _normalize(SAME_HASH[change], tmp_path) == _normalize(CODE, tmp_path)


@pytest.mark.parametrize("change", OTHER_HASH)
def test_the_hash_of_a_method_depends_on(change: str, tmp_path: Path) -> None:
    assert _normalize(OTHER_HASH[change], tmp_path) != _normalize(CODE, tmp_path)
