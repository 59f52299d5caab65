"""A network of the user's own, named as PATH.py:NAME: a function or a class in that file that builds it, or the network itself.

Or by the name alone under which a plugin has registered such a function or class
(bench.plugins.registry).

The file is run (`bench.plugins.user_file`). Our own packages are imported before, so that
neighbours of the same name do not take their place.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from bench.errors import ConfigError
from bench.plugins.registry import BACKBONES, discover, unknown
from bench.plugins.user_file import ENDING, OURS, beside, mistake, run_file


def is_own(backbone: str) -> bool:
    """Whether a backbone is the user's own: a file's, or one that a plugin has registered; the others are a task's."""
    return is_file(backbone) or backbone in BACKBONES.names()


def is_file(backbone: str) -> bool:
    """Whether a name on the command line means a file, and not a backbone of a task."""
    return ":" in backbone or backbone.endswith(ENDING)


def load(asked: str, options: Mapping[str, Any]) -> nn.Module:
    """The network that is named, in eval mode.

    Args:
        asked: "PATH.py:NAME".
        options: what a function or a class is called with.

    Raises:
        ConfigError: there is no such file or name, it is no network and builds none, or the user's
            code raises.
    """
    with _opened(asked) as (path, name, found):
        return _built(
            f"{path}:{name}" if is_file(asked) else f"backbone {name}", found, options, path
        ).eval()


def options(asked: str) -> dict[str, Any]:
    """What the function or the class that is named takes by name, with defaults, Parameter.empty where there is none.

    Raises:
        ConfigError: there is no such file or name, or the file raises.
    """
    with _opened(asked) as (_, _, found):
        return {} if isinstance(found, nn.Module) else _arguments(found)[0]


def source(asked: str) -> str:
    """Hash of the file, and of the files and packages beside it that it imports, wherever the folder is. Raises ConfigError: no file."""
    path = _parts(asked)[0].resolve() if is_file(asked) else _home(asked)
    whole = sha256()
    for file in sorted(_read_with(path, path.parent, set())):
        whole.update(
            f"{file.relative_to(path.parent).as_posix()}\0".encode()
            + sha256(file.read_bytes()).digest()
        )
    return whole.hexdigest()


def _home(registered: str) -> Path:
    """The file of a registered builder."""
    return Path(sys.modules[BACKBONES.get(registered).__module__].__file__ or "").resolve()


def _read_with(file: Path, folder: Path, known: set[Path]) -> set[Path]:
    """`known`, with a file and all that it imports of the folder."""
    known.add(file)
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # running it will say so
        return known
    dotted = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    dotted += [
        node.module
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    for name in {name.split(".")[0] for name in dotted} - set(OURS):
        for found in [folder / f"{name}.py", *(folder / name).rglob("*.py")]:
            if found.is_file() and found not in known:
                _read_with(found, folder, known)
    return known


@contextmanager
def _opened(asked: str) -> Iterator[tuple[Path, str, Any]]:
    """The file, the name in it and what that is, while the file's folder can be imported from.

    Raises ConfigError.
    """
    if not is_file(asked):
        yield _home(asked), asked, BACKBONES.get(asked)
        return
    path, name = _parts(asked)
    discover()
    with beside(path.parent.resolve()):
        module = run_file(path)
        if not name:
            example = next(iter(_offered(module)), "NAME")
            offered = f"{path} offers {', '.join(_offered(module)) or 'nothing that builds one'}"
            raise ConfigError(
                f"which network of the file? {offered}; write for example {path}:{example}"
            )
        if name not in vars(module):
            raise ConfigError(unknown(f"name in {path}", name, _offered(module)))
        yield path, name, vars(module)[name]


def _parts(asked: str) -> tuple[Path, str]:
    """The file and the name in it, "" where none is given."""
    file, _, name = (asked, "", "") if asked.endswith(ENDING) else asked.rpartition(":")
    if not file.endswith(ENDING):
        raise ConfigError(
            f"'{asked}' does not name a network in a Python file; write for example my_net.py:build"
        )
    if not Path(file).is_file():
        raise ConfigError(f"there is no file {file}")
    return Path(file), name


def _offered(module: ModuleType) -> list[str]:
    """Public names of what is a network or may build one: modules, their classes, functions that are written in the file."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and _offers(value, module.__name__)
    )


def _offers(value: Any, home: str) -> bool:
    if isinstance(value, type):
        return issubclass(value, nn.Module) and not value.__module__.startswith("torch.")
    return isinstance(value, nn.Module) or (
        callable(value) and getattr(value, "__module__", None) == home
    )


def _built(asked: str, found: Any, options: Mapping[str, Any], path: Path) -> nn.Module:
    """The network that was found, or that is built by what was found. Raises ConfigError."""
    if isinstance(found, nn.Module):
        if options:
            raise ConfigError(
                f"{asked} is a network already and takes no options; name a function or a class to use {', '.join(options)}"
            )
        return found
    if not callable(found) or (isinstance(found, type) and not issubclass(found, nn.Module)):
        raise ConfigError(
            f"{asked} is {_said(found)}; name a torch.nn.Module, or a function or a class that builds one"
        )
    _check_options(asked, found, options)
    try:
        model = found(**options)
    except (Exception, SystemExit) as error:
        raise ConfigError(mistake(asked, error, path)) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{asked} builds {_said(model)}, not a torch.nn.Module")
    return model


def _check_options(asked: str, builder: Any, options: Mapping[str, Any]) -> None:
    """Raises ConfigError for an option that the builder does not take, and for one that it needs and did not get."""
    named, takes_any = _arguments(builder)
    for name in options:
        if name not in named and not takes_any:
            raise ConfigError(unknown(f"option of {asked}", name, named))
    needed = [
        name
        for name, default in named.items()
        if default is Parameter.empty and name not in options
    ]
    if needed:
        raise ConfigError(
            f"{asked} needs {', '.join(needed)}; give {' '.join(f'--set {name}=VALUE' for name in needed)}"
        )


def _arguments(builder: Any) -> tuple[dict[str, Any], bool]:
    """What is taken by name, with defaults, and whether any name is taken."""
    try:
        takes = signature(builder).parameters.values()
    except (TypeError, ValueError):  # no builder, or one that is written in C: calling it will tell
        return {}, True
    named = {
        one.name: one.default
        for one in takes
        if one.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    }
    return named, any(one.kind is Parameter.VAR_KEYWORD for one in takes)


def _said(value: Any) -> str:
    """What a value is, for a sentence."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    return (
        f"of type {type(value).__name__}"
        if callable(value)
        else f"a value of type {type(value).__name__}"
    )
