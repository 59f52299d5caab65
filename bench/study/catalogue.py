"""List methods, tasks, backbones, studies and departures; build a backbone by name."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from inspect import formatannotation
from typing import Any, get_type_hints

from torch import nn

from bench.contract import Shape, Task
from bench.errors import ConfigError, describe_unknown, match_name
from bench.files.remote_files import Download
from bench.plugins.backbones import available_options, backbone_names, build, has_backbone
from bench.plugins.network_file import is_user_network
from bench.plugins.options import configure
from bench.plugins.registry import BACKBONES, METHODS, TASKS
from bench.study.packaged import describe_study, packaged_studies
from bench.units import format_shape


def list_entries(kind: str) -> list[dict[str, Any]]:
    """Return the entries of a kind as plain dictionaries whose first key is "name".

    Args:
        kind: "methods", "tasks", "backbones", "studies" or "departures".

    Raises:
        ConfigError: a plugin cannot be loaded.
    """
    lists = {
        "methods": _list_methods,
        "tasks": _list_tasks,
        "backbones": _list_backbones,
        "studies": _list_studies,
        "departures": _list_departures,
    }
    return lists[kind]()


def list_downloads() -> list[tuple[Download, list[str]]]:
    """Return the data sets that tasks declare, by name, each with the names of its tasks."""
    found: dict[str, tuple[Download, list[str]]] = {}
    for name in TASKS.names():
        for data_set in TASKS.get(name).downloads:
            found.setdefault(data_set.name, (data_set, []))[1].append(name)
    return [found[name] for name in sorted(found, key=str.lower)]


def find_download(name: str) -> tuple[Download, list[str]]:
    """Return the data set of a name, in upper or lower case, and its tasks. Raises ConfigError."""
    known = {entry[0].name: entry for entry in list_downloads()}
    found = match_name(name, known)
    if found not in known:
        raise ConfigError(describe_unknown("data set", name, known))
    return known[found]


def find_backbone(name: str) -> str:
    """Return the name of a backbone as its task or plugin spells it; any other text as it is."""
    return match_name(name, {known for task in TASKS.names() for known in _backbones_of(task)})


def _backbones_of(task: str) -> list[str]:
    return backbone_names(TASKS.get(task))


def find_task_class(backbone: str, task: str | None = None) -> type[Task]:
    """Return the class of the named task, or of the first task that has the backbone.

    Raises:
        ConfigError: unknown task or backbone; no task is named for a network of the user.
    """
    if is_user_network(backbone) and not task:
        raise ConfigError(
            f"{backbone} is a network of your own, which belongs to no task; "
            f"name one: --task {' or '.join(TASKS.names())}"
        )
    classes = [TASKS.get(task)] if task else [TASKS.get(name) for name in TASKS.names()]
    matches = [cls for cls in classes if has_backbone(cls, backbone)]
    if not matches:
        known = {name for cls in classes for name in backbone_names(cls)}
        raise ConfigError(
            describe_unknown(f"backbone of task {task}" if task else "backbone", backbone, known)
        )
    return matches[0]


def build_backbone(
    backbone: str, task: str | None, options: Mapping[str, Any]
) -> tuple[nn.Module, Shape]:
    """Return a new backbone in eval mode and the input shape (N, C, H, W) its task measures at.

    Args:
        backbone: name.
        task: name; None for the first task that has the backbone.
        options: options of the backbone or of its task ("scale" of super-resolution).

    Raises:
        ConfigError: unknown task, backbone or option, or a value that the backbone refuses.
    """
    cls = find_task_class(backbone, task)
    task_options, backbone_options = split_options(cls, backbone, options)
    instance = configure(cls, task_options, f"task {cls.name}")
    try:
        return build(instance, backbone, backbone_options).eval(), instance.measured_at
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"backbone {backbone}: {error}") from error


def split_options(
    cls: type[Task], backbone: str, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into those of a task and those of its backbone.

    Unknown options are given to the backbone, which refuses them. An option that both the task and
    a network of the user have, such as a scale, is given to both: they must agree.
    """
    task_names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    network_names = available_options(cls, backbone).keys()
    for_task = task_names if is_user_network(backbone) else task_names - network_names
    for_backbone = network_names | (options.keys() - task_names)
    return (
        {name: value for name, value in options.items() if name in for_task},
        {name: value for name, value in options.items() if name in for_backbone},
    )


def _describe_options(cls: type) -> dict[str, dict[str, Any]]:
    """Return option -> type in words and default, "required" without one, of a method or task."""
    options: dict[str, dict[str, Any]] = {}
    hints = get_type_hints(cls)
    for field in fields(cls):
        default: Any = "required"
        if field.default is not MISSING:
            default = field.default
        elif field.default_factory is not MISSING:
            default = field.default_factory()
        options[field.name] = {"type": formatannotation(hints[field.name]), "default": default}
    return options


def _list_methods() -> list[dict[str, Any]]:
    classes = [(name, METHODS.get(name)) for name in METHODS.names()]
    return [
        {
            "name": name,
            "origin": METHODS.origin(name),
            "paper": getattr(cls, "paper", ""),
            "options": _describe_options(cls),
        }
        for name, cls in classes
    ]


def _list_departures() -> list[dict[str, Any]]:
    return [
        {"name": name, **asdict(departure)}
        for name in METHODS.names()
        for departure in METHODS.get(name).departures
    ]


def _list_tasks() -> list[dict[str, Any]]:
    tasks = [(name, configure(TASKS.get(name), {}, f"task {name}")) for name in TASKS.names()]
    return [
        {
            "name": name,
            "origin": TASKS.origin(name),
            "backbones": backbone_names(task),
            "measured_at": format_shape(task.measured_at),
            "options": _describe_options(type(task)),
        }
        for name, task in tasks
    ]


def _list_backbones() -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for task in TASKS.names():
        for name in _backbones_of(task):
            options = available_options(TASKS.get(task), name)
            origin = BACKBONES.origin(name) if name in BACKBONES else TASKS.origin(task)
            new_entry = {"name": name, "origin": origin, "tasks": [], "options": options}
            entries.setdefault(name, new_entry)["tasks"].append(task)
    return list(entries.values())


def _list_studies() -> list[dict[str, Any]]:
    return [{"name": name, "about": describe_study(name)} for name in packaged_studies()]
