"""Networks of the user: of a Python file, PATH.py:NAME, of a checkpoint, or of a plugin.

In PATH.py:NAME, NAME is a function or a class in the file that builds the network, or the network
itself. A plugin registers such a function or class under a plain name (bench.plugins.registry).
A checkpoint is PATH.pth, or spandrel:PATH.pth (bench.plugins.checkpoint). The text that names a
network is called a reference below.

A Python file is run (`bench.plugins.user_file`). Our own packages are imported before, so that
files of the same name next to it do not replace them.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from bench.contract import Task
from bench.errors import ConfigError, describe_unknown
from bench.plugins import checkpoint
from bench.plugins.checkpoint import is_checkpoint
from bench.plugins.registry import BACKBONES, discover
from bench.plugins.source_files import collect_sources, hash_files
from bench.plugins.user_file import PYTHON_SUFFIX, describe_error, importable_from, run_file


def is_user_network(backbone: str) -> bool:
    """Return whether a backbone is from a file or a plugin, and not from a task."""
    return is_network_file(backbone) or backbone in BACKBONES.names()


def is_network_file(backbone: str) -> bool:
    """Return whether the name of a backbone refers to a file."""
    return ":" in backbone or backbone.endswith(PYTHON_SUFFIX) or is_checkpoint(backbone)


def file_path(reference: str) -> Path:
    """Return PATH.py:NAME or the file of a checkpoint as a path, whose name tables show."""
    return checkpoint.checkpoint_path(reference) if is_checkpoint(reference) else Path(reference)


def load(reference: str, options: Mapping[str, Any], task: Task | None = None) -> nn.Module:
    """Return the network of a reference, in eval mode.

    Args:
        reference: "PATH.py:NAME", a checkpoint, or the name of a registered backbone.
        options: keyword arguments of the function or class.
        task: whose channels and scale a checkpoint must have; None: any.

    Raises:
        ConfigError: there is no such file or name, it neither is nor builds a network, or the
            user's code raises.
    """
    if is_checkpoint(reference):
        return checkpoint.load(reference, options, task)
    with _resolve(reference) as (path, name, target):
        label = f"{path}:{name}" if is_network_file(reference) else f"backbone {name}"
        return _build(label, target, options, path).eval()


def available_options(reference: str) -> dict[str, Any]:
    """Return the keyword arguments of the function or class with their defaults.

    The default of a required argument is Parameter.empty. A network that is built already has none.

    Raises:
        ConfigError: there is no such file or name, or the file raises.
    """
    if is_checkpoint(reference):
        return {}
    with _resolve(reference) as (_, _, target):
        return {} if isinstance(target, nn.Module) else _accepted_options(target)[0]


def source_hash(reference: str) -> str:
    """Return a hash of the file and of all files that it imports from its folder or package.

    The hash does not depend on where the folder is.

    Raises:
        ConfigError: there is no such file.
    """
    if is_checkpoint(reference):
        return checkpoint.source_hash(reference)
    if is_network_file(reference):
        path = _split_reference(reference)[0].resolve()
    else:
        path = _source_file(reference)
    return hash_files(collect_sources([path], path.parent), path.parent, Path.read_bytes)


def _source_file(registered: str) -> Path:
    """Return the file in which a registered backbone is defined."""
    return Path(sys.modules[BACKBONES.get(registered).__module__].__file__ or "").resolve()


@contextmanager
def _resolve(reference: str) -> Iterator[tuple[Path, str, Any]]:
    """Find the object of a reference; its folder is importable within the block.

    Yields the file, the name in it, and the object. Raises ConfigError.
    """
    if not is_network_file(reference):
        yield _source_file(reference), reference, BACKBONES.get(reference)
        return
    path, name = _split_reference(reference)
    discover()
    with importable_from(path.parent.resolve()):
        module = run_file(path)
        if name in vars(module):
            yield path, name, vars(module)[name]
            return
        candidates = _list_candidates(module)
        if name:
            raise ConfigError(describe_unknown(f"name in {path}", name, candidates))
        raise ConfigError(
            f"{path} needs the name of a network after ':'; "
            f"it offers {', '.join(candidates) or 'nothing that builds one'}; "
            f"write for example {path}:{candidates[0] if candidates else 'NAME'}"
        )


def _split_reference(reference: str) -> tuple[Path, str]:
    """Split PATH.py:NAME into file and name; the name is "" if there is none."""
    file = reference
    name = ""
    if not reference.endswith(PYTHON_SUFFIX):
        file, _, name = reference.rpartition(":")
    if not file.endswith(PYTHON_SUFFIX):
        raise ConfigError(
            f"'{reference}' does not name a network in a Python file; "
            "write for example my_net.py:build"
        )
    if not Path(file).is_file():
        raise ConfigError(f"there is no file {file}")
    return Path(file), name


def _list_candidates(module: ModuleType) -> list[str]:
    """Return the public names of networks, of classes of networks, and of the file's functions."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and _is_candidate(value, module.__name__)
    )


def _is_candidate(value: Any, module_name: str) -> bool:
    if isinstance(value, type):
        return issubclass(value, nn.Module) and not value.__module__.startswith("torch.")
    return isinstance(value, nn.Module) or (
        callable(value) and getattr(value, "__module__", None) == module_name
    )


def _build(label: str, target: Any, options: Mapping[str, Any], path: Path) -> nn.Module:
    """Return the target if it is a network, else the network that it builds.

    Raises:
        ConfigError: it neither is nor builds a network, or does not accept the options.
    """
    if isinstance(target, nn.Module):
        if options:
            raise ConfigError(
                f"{label} is a network already and takes no options; "
                f"name a function or a class to use {', '.join(options)}"
            )
        return target
    if not callable(target) or (isinstance(target, type) and not issubclass(target, nn.Module)):
        raise ConfigError(
            f"{label} is {_describe(target)}; "
            "name a torch.nn.Module, or a function or a class that builds one"
        )
    _check_options(label, target, options)
    try:
        model = target(**options)
    except (Exception, SystemExit) as error:
        raise ConfigError(describe_error(label, error, path)) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{label} builds {_describe(model)}, not a torch.nn.Module")
    return model


def _check_options(label: str, builder: Any, options: Mapping[str, Any]) -> None:
    """Raise ConfigError if an option is unknown or a required one is missing."""
    named, accepts_any = _accepted_options(builder)
    for name in options:
        if name not in named and not accepts_any:
            raise ConfigError(describe_unknown(f"option of {label}", name, named))
    missing = [
        name
        for name, default in named.items()
        if default is Parameter.empty and name not in options
    ]
    if missing:
        assignments = " ".join(f"--set {name}=VALUE" for name in missing)
        raise ConfigError(f"{label} needs {', '.join(missing)}; give {assignments}")


def _accepted_options(builder: Any) -> tuple[dict[str, Any], bool]:
    """Return keyword argument -> default, and whether any other keyword is accepted."""
    try:
        parameters = signature(builder).parameters.values()
    except (TypeError, ValueError):  # not callable, or written in C: calling it will report errors
        return {}, True
    named = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    }
    return named, any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)


def _describe(value: Any) -> str:
    """Describe a value in a few words, for a message."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    type_name = type(value).__name__
    return f"of type {type_name}" if callable(value) else f"a value of type {type_name}"
