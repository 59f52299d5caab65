"""A network of the user's own, named as PATH.py:NAME: a function or a class in that file that builds it, or the network itself.

The file is run (`bench.python_file`). Our own packages are imported before, so that neighbours of the same name do not take their place.
"""

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from bench.errors import ConfigError
from bench.python_file import ENDING, beside, mistake, run_file
from bench.registry import discover, unknown


def is_file(backbone: str) -> bool:
    """Whether a name on the command line means a file, and not a backbone of a task."""
    return ":" in backbone or backbone.endswith(ENDING)


def load(asked: str, options: Mapping[str, Any]) -> nn.Module:
    """The network that is named, in eval mode.

    Args:
        asked: "PATH.py:NAME".
        options: what a function or a class is called with.

    Raises:
        ConfigError: there is no such file or name, it is no network and builds none, or the user's code raises.
    """
    path, name = _parts(asked)
    discover()
    with beside(path.parent.resolve()):
        module = run_file(path)
        if not name:
            example = next(iter(_offered(module)), "NAME")
            offered = f"{path} offers {', '.join(_offered(module)) or 'nothing that builds one'}"
            raise ConfigError(f"which network of the file? {offered}; write for example {path}:{example}")
        if name not in vars(module):
            raise ConfigError(unknown(f"name in {path}", name, _offered(module)))
        return _built(f"{path}:{name}", vars(module)[name], options, path).eval()


def _parts(asked: str) -> tuple[Path, str]:
    """The file and the name in it, "" where none is given."""
    file, _, name = (asked, "", "") if asked.endswith(ENDING) else asked.rpartition(":")
    if not file.endswith(ENDING):
        raise ConfigError(f"'{asked}' does not name a network in a Python file; write for example my_net.py:build")
    if not Path(file).is_file():
        raise ConfigError(f"there is no file {file}")
    return Path(file), name


def _offered(module: ModuleType) -> list[str]:
    """Public names of what is a network or may build one: modules, their classes, functions that are written in the file."""
    return sorted(name for name, value in vars(module).items() if not name.startswith("_") and _offers(value, module.__name__))


def _offers(value: Any, home: str) -> bool:
    if isinstance(value, type):
        return issubclass(value, nn.Module) and not value.__module__.startswith("torch.")
    return isinstance(value, nn.Module) or (callable(value) and getattr(value, "__module__", None) == home)


def _built(asked: str, found: Any, options: Mapping[str, Any], path: Path) -> nn.Module:
    """The network that was found, or that is built by what was found. Raises ConfigError."""
    if isinstance(found, nn.Module):
        if options:
            raise ConfigError(f"{asked} is a network already and takes no options; name a function or a class to use {', '.join(options)}")
        return found
    if not callable(found) or (isinstance(found, type) and not issubclass(found, nn.Module)):
        raise ConfigError(f"{asked} is {_said(found)}; name a torch.nn.Module, or a function or a class that builds one")
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
    try:
        takes = signature(builder).parameters.values()
    except (TypeError, ValueError):  # something written in C; calling it will tell
        return
    named = {one.name: one.default for one in takes if one.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)}
    takes_any = any(one.kind is Parameter.VAR_KEYWORD for one in takes)
    for name in options:
        if name not in named and not takes_any:
            raise ConfigError(unknown(f"option of {asked}", name, named))
    needed = [name for name, default in named.items() if default is Parameter.empty and name not in options]
    if needed:
        raise ConfigError(f"{asked} needs {', '.join(needed)}; give {' '.join(f'--set {name}=VALUE' for name in needed)}")


def _said(value: Any) -> str:
    """What a value is, for a sentence."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    return f"of type {type(value).__name__}" if callable(value) else f"a value of type {type(value).__name__}"
