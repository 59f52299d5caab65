"""What there is to choose from: methods, tasks, backbones, studies, each as a list of plain dictionaries that begin with a name."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from inspect import formatannotation
from itertools import takewhile
from typing import Any, get_type_hints

from torch import nn

from bench.contract import Shape, Task
from bench.errors import ConfigError
from bench.plugins.backbones import belongs, build, names
from bench.plugins.backbones import options as options_of
from bench.plugins.network_file import is_own
from bench.plugins.options import configured
from bench.plugins.registry import BACKBONES, METHODS, TASKS, unknown
from bench.study.study import packaged_studies, study_path
from bench.units import format_shape


def catalogue(kind: str) -> list[dict[str, Any]]:
    """All entries of a kind: "methods", "tasks", "backbones" or "studies".

    Raises ConfigError if a plugin cannot be loaded.
    """
    return {"methods": _methods, "tasks": _tasks, "backbones": _backbones, "studies": _studies}[
        kind
    ]()


def task_class(backbone: str, task: str | None = None) -> type[Task]:
    """The named task, or the first one that has the backbone.

    Raises:
        ConfigError: unknown task or backbone; no task for a network of the user's own.
    """
    if is_own(backbone) and not task:
        raise ConfigError(
            f"{backbone} is a network of your own, so say what it is for: --task {' or '.join(TASKS.names())}"
        )
    classes = [TASKS.get(task)] if task else [TASKS.get(name) for name in TASKS.names()]
    having = [cls for cls in classes if belongs(cls, backbone)]
    if not having:
        known = {name for cls in classes for name in names(cls)}
        raise ConfigError(
            unknown(f"backbone of task {task}" if task else "backbone", backbone, known)
        )
    return having[0]


def built(backbone: str, task: str | None, options: Mapping[str, Any]) -> tuple[nn.Module, Shape]:
    """A new backbone in eval mode, and the input at which its task is measured.

    Args:
        backbone: its name.
        task: by default the first that has the backbone.
        options: of the backbone, or of its task ("scale" of super-resolution).

    Raises:
        ConfigError: unknown task, backbone or option, or a value that the backbone refuses.
    """
    cls = task_class(backbone, task)
    of_task, of_backbone = parted(cls, backbone, options)
    one = configured(cls, of_task, f"task {cls.name}")
    try:
        return build(one, backbone, of_backbone).eval(), one.measured_at
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"backbone {backbone}: {error}") from error


def parted(
    cls: type[Task], backbone: str, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a task, and those of one of its backbones; unknown ones are left to the backbone to refuse.

    One that a task and a network of the user's own both have, such as a scale, is given to both:
    they must agree.
    """
    has, takes = {entry.name for entry in fields(cls)}, options_of(cls, backbone).keys()  # type: ignore[arg-type]
    of_task = has if is_own(backbone) else has - takes
    of_backbone = takes | (options.keys() - has)
    return {name: options[name] for name in options if name in of_task}, {
        name: options[name] for name in options if name in of_backbone
    }


def _options(cls: type) -> dict[str, dict[str, Any]]:
    """Option -> its type in words and its default, "required" where there is none, of a method or task."""
    found: dict[str, dict[str, Any]] = {}
    hints = get_type_hints(cls)
    for entry in fields(cls):
        made = entry.default_factory() if entry.default_factory is not MISSING else "required"
        default = entry.default if entry.default is not MISSING else made
        found[entry.name] = {"type": formatannotation(hints[entry.name]), "default": default}
    return found


def _methods() -> list[dict[str, Any]]:
    classes = [(name, METHODS.get(name)) for name in METHODS.names()]
    return [
        {
            "name": name,
            "origin": METHODS.origin(name),
            "paper": getattr(cls, "paper", ""),
            "options": _options(cls),
        }
        for name, cls in classes
    ]


def _tasks() -> list[dict[str, Any]]:
    tasks = [(name, configured(TASKS.get(name), {}, f"task {name}")) for name in TASKS.names()]
    return [
        {
            "name": name,
            "origin": TASKS.origin(name),
            "backbones": names(one),
            "measured_at": format_shape(one.measured_at),
            "options": _options(type(one)),
        }
        for name, one in tasks
    ]


def _backbones() -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for task in TASKS.names():
        for name in names(TASKS.get(task)):
            options = options_of(TASKS.get(task), name)
            origin = BACKBONES.origin(name) if name in BACKBONES else TASKS.origin(task)
            found.setdefault(
                name, {"name": name, "origin": origin, "tasks": [], "options": options}
            )["tasks"].append(task)
    return list(found.values())


def _studies() -> list[dict[str, Any]]:
    return [
        {"name": name, "about": _about(study_path(name).read_text(encoding="utf-8"))}
        for name in packaged_studies()
    ]


def _about(toml: str) -> str:
    """The first paragraph of the comment that a study begins with, as one line."""
    comment = takewhile(lambda line: line.startswith("# "), toml.splitlines())
    return " ".join(line.lstrip("# ") for line in comment)


def text(entries: list[dict[str, Any]]) -> str:
    """Entries for a person: the name, below it what is known of it."""
    lines: list[str] = []
    for entry in entries:
        lines.append(str(entry["name"]))
        lines += [
            f"  {word:<12}{_spoken(value)}" for word, value in entry.items() if word != "name"
        ]
    return "\n".join(lines)


def _spoken(value: Any) -> str:
    if isinstance(value, dict):
        value = [_option(name, entry) for name, entry in value.items()]
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or "-"


def _option(name: str, entry: Any) -> str:
    """One option as Python writes it."""
    return (
        f"{name}: {entry['type']} = {entry['default']!r}"
        if isinstance(entry, dict)
        else f"{name} = {entry!r}"
    )
