"""The public API: every public name is there, is typed, and costs nothing before it is used."""

import subprocess
import sys
from importlib import import_module

import pytest

import prunebench


@pytest.mark.parametrize("name", prunebench.__all__)
def test_a_public_name_is_what_its_module_defines_by_that_name(name: str) -> None:
    module = import_module(prunebench.MODULE_OF_NAME[name])
    assert getattr(prunebench, name) is getattr(module, name)


def test_every_public_name_has_a_module_and_no_other_has_one() -> None:
    assert sorted(prunebench.__all__) == sorted(prunebench.MODULE_OF_NAME)
    assert set(prunebench.__all__) <= set(dir(prunebench))


def test_a_name_that_is_not_public_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'prunebench' has no attribute 'prune_all'"):
        _ = prunebench.prune_all


def test_importing_the_public_api_imports_nothing_heavy() -> None:
    code = "import sys, prunebench; print('torch' in sys.modules, 'bench' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
