"""Networks from a Python file of the user: what can be named, and the messages of errors."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from bench.errors import ConfigError
from bench.plugins.network_file import is_network_file, load

NETS = """
from torch import nn

def build(width=4, bias=True):
    head = nn.Conv2d(3, width, 3, padding=1, bias=bias)
    return nn.Sequential(head, nn.Conv2d(width, 3, 3, padding=1))

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.only = nn.Conv2d(3, width, 1)

    def forward(self, x):
        return self.only(x)

ready = Net(5)
SIZE = 7

def nothing():
    pass

def broken(width=0):
    return 1 / width

def choosy(**options):
    return Net(**options)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """file(text, name): write a file into the working folder and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = NETS, name: str = "nets.py") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.mark.parametrize(
    ("name", "options", "width"),
    [
        ("build", {}, 4),
        ("build", {"width": 6, "bias": False}, 6),
        ("Net", {"width": 2}, 2),
        ("ready", {}, 5),
        ("choosy", {"width": 3}, 3),
    ],
)
def test_a_function_a_class_and_a_network_can_be_named(
    name: str, options: dict, width: int, file
) -> None:
    model = load(f"{file()}:{name}", options)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].out_channels == width
    assert not model.training


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "",
            {},
            "nets.py needs the name of a network after ':'; "
            "it offers Net, broken, build, choosy, nothing, ready; write for example nets.py:Net",
        ),
        ("biuld", {}, "unknown name in nets.py 'biuld'; did you mean 'build'?"),
        ("SIZE", {}, "nets.py:SIZE is a value of type int"),
        ("nn", {}, "nets.py:nn is the module torch.nn"),
        ("nothing", {}, "nets.py:nothing builds None, not a torch.nn.Module"),
        (
            "broken",
            {},
            "nets.py:broken raises ZeroDivisionError in line 23 of nets.py: division by zero",
        ),
        ("build", {"wdith": 3}, "unknown option of nets.py:build 'wdith'; did you mean 'width'?"),
        ("build", {"width": "a"}, "nets.py:build raises TypeError in line 5 of nets.py"),
        ("Net", {}, "nets.py:Net needs width; give --set width=VALUE"),
        ("ready", {"width": 3}, "nets.py:ready is a network already"),
    ],
)
def test_the_error_for_an_unusable_network_is_one_line(
    name: str, options: dict, message: str, file
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{file()}:{name}", options)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import torch\n\nx = torch.zeros(2) @ torch.zeros(3)\n",
            "nets.py raises RuntimeError in line 3 of nets.py: inconsistent",
        ),
        ("def build(:\n", "nets.py raises SyntaxError in line 1 of nets.py"),
        (
            "import no_such_neighbour\n",
            "nets.py raises ModuleNotFoundError in line 1 of nets.py: "
            "No module named 'no_such_neighbour'",
        ),
        ("import sys\nsys.exit(3)\n", "nets.py raises SystemExit in line 2 of nets.py: 3"),
    ],
)
def test_the_error_for_a_file_that_raises_has_the_exception_and_the_line(
    text: str, message: str, file
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(f"{file(text)}:build", {})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere.py:build", "there is no file nowhere.py"),
        ("nets:build", "does not name a network in a Python file"),
    ],
)
def test_the_error_for_a_missing_file_names_it(reference: str, message: str, file) -> None:
    with pytest.raises(ConfigError, match=message):
        load(reference, {})


HALVES = """
from torch import nn
def half(width):
    return nn.Conv2d(3, width // 2, 1)
"""
IMPORTS_HALVES = """
def build(width=8):
    from halves_of_a_test import half
    return half(width)
"""


def test_a_file_can_import_from_its_folder_and_nothing_is_left_behind(file, tmp_path: Path) -> None:
    file(HALVES, "halves_of_a_test.py")
    path, writes = list(sys.path), sys.dont_write_bytecode
    assert load(file(IMPORTS_HALVES) + ":build", {}).out_channels == 4
    assert (sys.path, sys.dont_write_bytecode) == (path, writes)
    assert {entry.name for entry in tmp_path.iterdir()} == {"halves_of_a_test.py", "nets.py"}


def test_files_in_the_folder_do_not_replace_our_packages(file, tmp_path: Path) -> None:
    for name in ("bench.py", "tasks.py"):
        file("raise RuntimeError('not ours')\n", name)
    with pytest.raises(
        ConfigError,
        match=r"ImportError in line 1 of nets.py.*'bench' there is hidden by prunebench's own",
    ):
        load(file("from tasks import denoiser\n") + ":build", {})
    assert Path(sys.modules["tasks"].__file__ or "").parent.name == "tasks"


def test_the_output_of_a_file_goes_to_stderr(file, capsys: pytest.CaptureFixture[str]) -> None:
    load(file(f"print('hello')\n{NETS}") + ":build", {})
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")


def test_the_error_in_an_imported_file_has_the_line_of_that_file(file) -> None:
    file("\n\nnumber = int('three')\n", "numbers_of_a_test.py")
    with pytest.raises(
        ConfigError,
        match=r"nets.py raises ValueError in line 3 of numbers_of_a_test.py: invalid literal",
    ):
        load(file("import numbers_of_a_test\n") + ":build", {})


@pytest.mark.parametrize(
    ("name", "means_file"),
    [("unet", False), ("nets.py", True), ("some/nets.py:build", True), ("nets:build", True)],
)
def test_a_file_is_distinguished_from_the_name_of_a_backbone(name: str, means_file: bool) -> None:
    assert is_network_file(name) is means_file
