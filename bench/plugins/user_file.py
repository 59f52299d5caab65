"""Run a Python file of the user, with its folder first on the import path.

No byte code is written next to the file, its output goes to stderr, and an exception in it becomes
one line with the file and line number.
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

PYTHON_SUFFIX = ".py"
OUR_PACKAGES = ("bench", "methods", "tasks")


@contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """Make the folder's modules importable within the block.

    No byte code is written there, and what they print goes to stderr.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.dont_write_bytecode = before
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def run_file(path: Path, label: str = "") -> ModuleType:
    """Run a file as a module with a name of its own and return the module.

    Args:
        path: the file.
        label: the name of the file in messages; by default its path.

    Raises:
        ConfigError: the file cannot be read, or its code raises.
        BenchError: its code raises one of prunebench's own errors.
    """
    spec = spec_from_file_location(module_name(path), path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be read as a Python file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look up modules there
    try:
        spec.loader.exec_module(module)
    except BenchError:
        del sys.modules[spec.name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise ConfigError(describe_error(label or str(path), error, path)) from error
    return module


def module_name(path: Path) -> str:
    """Return the module name of a file, a different one for each folder."""
    path_hash = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    return f"prunebench_file_{path.stem}_{path_hash}"


def describe_error(label: str, error: BaseException, path: Path) -> str:
    """Return one line about an exception that the user's code raised, and where.

    Args:
        label: the name of the file in the line.
        error: the exception.
        path: the file; the line number is that of a file in its folder.
    """
    folder = path.parent.resolve()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    more = lines[1:2] if lines[0].endswith(":") else []  # it names what follows
    reason = f": {' '.join([lines[0], *more])}" if lines[0] else ""
    hidden = [
        name
        for name in OUR_PACKAGES
        if (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    ]
    hint = ""
    if hidden and isinstance(error, ImportError):
        hint = f" ('{hidden[0]}' there is hidden by prunebench's own package of that name)"
    location = _error_location(error, folder)
    return f"{label} raises {type(error).__name__}{location}{reason}{hint}"


def _error_location(error: BaseException, folder: Path) -> str:
    """Return " in line N of FILE": the innermost line in the user's folder; "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" in line {error.lineno} of {Path(error.filename).name}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if folder in Path(frame.filename).parents and "site-packages" not in frame.filename
    ]
    if not frames:
        return ""
    return f" in line {frames[-1].lineno} of {Path(frames[-1].filename).relative_to(folder)}"
