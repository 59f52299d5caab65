"""A Python file of the user's, run as Python would run it, with its folder first on the path.

Nothing is written next to the file, what it prints goes to stderr, and its mistakes become one line
that names the place.
"""

import hashlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from bench.errors import BenchError, ConfigError

ENDING = ".py"
OURS = ("bench", "methods", "tasks")


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """While it lasts, the folder's modules can be imported, without byte code written there; what they print goes to stderr."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.dont_write_bytecode = before
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def run_file(path: Path, called: str = "") -> ModuleType:
    """The file as a module, under a name that no other module has.

    Args:
        path: of the file.
        called: in messages; by default the path.

    Raises:
        ConfigError: its code raises; an error of ours passes through.
    """
    spec = spec_from_file_location(module_name(path), path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be read as a Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look their module up there
    try:
        spec.loader.exec_module(module)
    except BenchError:
        del sys.modules[spec.name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise ConfigError(mistake(called or str(path), error, path)) from error
    return module


def module_name(path: Path) -> str:
    """The name of the module of a file: one for each place, so that files of the same name do not take each other's."""
    return f"prunebench_file_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def mistake(what: str, error: BaseException, path: Path) -> str:
    """The exception that the user's code raised, and where, in one line."""
    folder, text = path.parent.resolve(), str(error).strip()
    said = f": {text.splitlines()[0]}" if text else ""
    hidden = [
        name for name in OURS if (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    ]
    hint = (
        f" ('{hidden[0]}' there is hidden by prunebench's own package of that name)"
        if hidden and isinstance(error, ImportError)
        else ""
    )
    return f"{what} raises {type(error).__name__}{_place(error, folder)}{said}{hint}"


def _place(error: BaseException, folder: Path) -> str:
    """The last line of the user's own files that was reached."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" in line {error.lineno} of {Path(error.filename).name}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if folder in Path(frame.filename).parents
    ]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return (
        f" in line {own[-1].lineno} of {Path(own[-1].filename).relative_to(folder)}" if own else ""
    )
