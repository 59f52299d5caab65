"""What a study file may say.

Unknown keys, names and options are answered with the nearest known one; every message is one line.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, get_args

import torch

from bench.contract import Convention, Recipe, Task
from bench.errors import ConfigError
from bench.files.hashing import digest
from bench.files.schema import check
from bench.plugins.backbones import belongs, build, names
from bench.plugins.network_file import is_file, is_own
from bench.plugins.options import checked, configured, plain, toml_value
from bench.plugins.registry import METHODS, TASKS, unknown
from bench.records import LONGEST_LABEL
from bench.units import parse_shape

KEYS = (
    "tasks",
    "backbones",
    "methods",
    "ratios",
    "seeds",
    "data",
    "convention",
    "compute",
    "measured_at",
    "recipe",
    "options",
)
GRID = ("tasks", "convention", "backbones", "methods", "ratios", "seeds")  # what is multiplied
COMPUTE = ("own", "matched")
PATCH_MULTIPLE = 16
MOST_BYTES = 2**17
LONGEST_LINE = 2**12  # a dotted key takes time with the square of its length
MOST_CELLS = 20_000
LARGEST_SEED = 2**32
LARGEST: dict[str, float] = {
    "patch": 4096,
    "batch": 4096,
    "calibration_crops": 4096,
    "min_width": 2**16,
    "threads": 1024,
}  # of a recipe
LARGEST |= {
    "pretrain_rate": 1e30,
    "finetune_rate": 1e30,
    "pretrain_drops": 1000,
    "finetune_drops": 1000,
}
MOST_STEPS = 10**8
MAY_BE_ZERO = ("pretrain_steps", "adapt_steps", "finetune_steps", "matched_steps")


@dataclass(frozen=True)
class Row:
    """A method with its options and the name of its row."""

    method: str
    options: Mapping[str, Any]
    label: str


def parsed(raw: bytes, where: str) -> dict[str, Any]:
    """The content of a TOML file. Raises ConfigError with the place of the mistake."""
    if (longest := max(map(len, raw.splitlines()), default=0)) > LONGEST_LINE:
        raise ConfigError(
            f"{where} has a line of {longest:,} bytes, more than {LONGEST_LINE:,}; break it"
        )
    try:
        return tomllib.loads(raw.decode())
    except RecursionError as error:
        raise ConfigError(f"{where} is nested too deeply for a study") from error
    except ValueError as error:  # of TOML, of UTF-8, or of a number with thousands of digits
        last = f" (the last line is {len(raw.splitlines())})" if "line" not in str(error) else ""
        raise ConfigError(f"{where} is not valid TOML: {error}{last}") from error


def override(content: dict[str, Any], text: str) -> None:
    """Sets one key, in place: "a.b=value"; a value that is no TOML is taken as text."""
    path, equals, value = text.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(
            f"--set {text} is not of the form KEY=VALUE; write for example --set recipe.finetune_steps=50"
        )
    table = content
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text}: '{name}' is a value, not a table")
    table[names[-1]] = toml_value(value)


def checked_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says, as the fields of a Study (but its name). Raises ConfigError."""
    for key in content:
        if key not in KEYS:
            raise ConfigError(unknown("study key", key, KEYS))
        _check_plain(key, content[key])
    check_count(content)
    tasks, backbones = (
        tuple(_entries(content, "tasks", "task")),
        tuple(_entries(content, "backbones", "backbone")),
    )
    known_tasks = [configured(TASKS.get(task), options, f"task {task}") for task, options in tasks]
    _check_one_file_of_a_name([backbone for backbone, _ in backbones])
    for backbone, options in backbones:
        _check_backbone(known_tasks, backbone, options)
    for task in known_tasks:
        if not any(belongs(task, backbone) for backbone, _ in backbones):
            raise ConfigError(
                f"no backbone of the study belongs to task {task.name}; add one of {', '.join(names(task))}"
            )
    data = content.get("data", "embedded")
    if not isinstance(data, str):
        raise ConfigError(
            f'data = {data!r} cannot be used; give "embedded" or the path of a folder, in quotes'
        )
    measured_at = content.get("measured_at")
    return {
        "tasks": tasks,
        "backbones": backbones,
        "rows": _rows(content),
        "ratios": _numbers(content, "ratios", float),
        "seeds": _numbers(content, "seeds", int),
        "data": data,
        "conventions": _conventions(content),
        "compute": _choice(content, "compute", COMPUTE),
        "measured_at": None if measured_at is None else parse_shape(str(measured_at)),
        "recipe": checked_recipe(content.get("recipe", {})),
    }


def _check_plain(key: str, value: Any) -> None:
    """Raises ConfigError for a value that JSON has not (a date), that is not finite, or that is nested too deeply."""
    try:
        check(value, Any, key)
    except ValueError as error:
        raise ConfigError(f"the study cannot be used: {error}") from error


def check_count(content: Mapping[str, Any]) -> None:
    """Raises ConfigError, before anything is built, for a grid of too many cells."""
    factors = [key for key in GRID if isinstance(content.get(key), list)]
    cells = prod(len(content[key]) for key in factors)
    if cells > MOST_CELLS:
        sizes = " x ".join(f"{len(content[key]):,} {key}" for key in factors)
        raise ConfigError(
            f"the study asks {cells:,} questions ({sizes}), and {MOST_CELLS:,} are the most; make several studies of it"
        )


def _entries(content: Mapping[str, Any], key: str, word: str) -> list[tuple[str, dict[str, Any]]]:
    """A list of names, or of tables with a name and options."""
    entries = content.get(key, [])
    if not isinstance(entries, list) or not entries:
        raise ConfigError(
            f"the study needs {key} = [...], a list with at least one {word}; found {entries!r}"
        )
    found = []
    for entry in entries:
        table = {word: entry} if isinstance(entry, str) else entry
        if not isinstance(table, dict) or not isinstance(table.get(word), str):
            raise ConfigError(
                f'{key} has the entry {entry!r}; give a name in quotes or a table {{{word} = "NAME", ...}}'
            )
        found.append((table[word], {name: value for name, value in table.items() if name != word}))
        if key != "methods" and found[-1] in found[:-1]:
            raise ConfigError(f"{key} has the entry {entry!r} twice; remove one")
    return found


def _check_one_file_of_a_name(backbones: Sequence[str]) -> None:
    """Raises ConfigError for network files of one name in different folders: rows name them without the folder."""
    folders: dict[str, Path] = {}
    for path in (Path(backbone).absolute() for backbone in backbones if is_file(backbone)):
        other = folders.setdefault(path.name, path.parent)
        if other != path.parent:
            raise ConfigError(
                f"two networks are called {path.name}, in {other} and in {path.parent}; rename one of the files"
            )


def _check_backbone(tasks: Sequence[Task], backbone: str, options: Mapping[str, Any]) -> None:
    """Builds it once for each task that has it, a task's own without memory for its weights.

    Raises ConfigError, also if no task has it.
    """
    having = [task for task in tasks if belongs(task, backbone)]
    if not having:
        known = {name for task in tasks for name in names(task)}
        raise ConfigError(
            unknown(f"backbone of task {' or '.join(task.name for task in tasks)}", backbone, known)
        )
    try:
        with torch.device("cpu" if is_own(backbone) else "meta"):  # a file may read weights
            for task in having:
                build(task, backbone, options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"backbone {backbone}: {error}") from error


def _rows(content: Mapping[str, Any]) -> tuple[Row, ...]:
    defaults = content.get("options", {})
    if not isinstance(defaults, dict) or not all(
        isinstance(table, dict) for table in defaults.values()
    ):
        raise ConfigError("options must be tables; write [options.METHOD] and below it the options")
    for name, options in defaults.items():
        checked(METHODS.get(name), options, f"method {name}")
    rows = [
        _row(name, defaults.get(name, {}), dict(options))
        for name, options in _entries(content, "methods", "method")
    ]
    labels: dict[str, Row] = {}
    questions: dict[str, Row] = {}
    for row in rows:
        if row.label in labels:
            raise ConfigError(f"two rows are called '{row.label}'; give one of them another label")
        twin = questions.get(digest([row.method, row.options]))
        if twin is not None:
            raise ConfigError(
                f"rows '{twin.label}' and '{row.label}' ask the same: {row.method} with equal options; remove one"
            )
        labels[row.label] = questions[digest([row.method, row.options])] = row
    return tuple(rows)


def _row(name: str, defaults: Mapping[str, Any], options: dict[str, Any]) -> Row:
    label = options.pop("label", None) or ", ".join(
        [name, *(f"{option}={value}" for option, value in options.items())]
    )
    if not isinstance(label, str) or len(label) > LONGEST_LABEL:
        raise ConfigError(
            f"label = {label!r} of method {name} cannot be used; give text in quotes, at most {LONGEST_LABEL} letters"
        )
    return Row(
        name, plain(configured(METHODS.get(name), {**defaults, **options}, f"method {name}")), label
    )


def _conventions(content: Mapping[str, Any]) -> tuple[Any, ...]:
    """One convention, or several in a list: each has a table of its own."""
    asked = content.get("convention", "planned")
    several = asked if isinstance(asked, list) and asked else [asked]
    if len(set(map(str, several))) < len(several):
        raise ConfigError(f"convention = {asked} names a value twice")
    return tuple(
        _choice({"convention": one}, "convention", get_args(Convention)) for one in several
    )


def _numbers(content: Mapping[str, Any], key: str, kind: type) -> tuple[Any, ...]:
    values = content.get(key, [0] if key == "seeds" else None)
    if not isinstance(values, list) or not values:
        raise ConfigError(f"the study needs {key} = [...], a list of numbers; found {values!r}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{key} has the entry {value!r}, which is no number")
        if key == "ratios" and not 0 < value <= 1:
            raise ConfigError(
                f"ratio {value} is outside (0, 1]; it is the share of the unpruned peak memory that may be used"
            )
        if key == "seeds" and (not isinstance(value, int) or not 0 <= value < LARGEST_SEED):
            raise ConfigError(f"seed {value} is not a whole number from 0 to {LARGEST_SEED - 1}")
    if len(set(values)) < len(values):
        raise ConfigError(f"{key} = {values} names a value twice")
    return tuple(kind(value) for value in values)


def _choice(content: Mapping[str, Any], key: str, choices: Sequence[str]) -> Any:
    value = content.get(key, choices[0])
    if value not in choices:
        raise ConfigError(unknown(key, str(value), choices))
    return value


def checked_recipe(table: Any) -> dict[str, Any]:
    """What differs from a task's own recipe, as its fields. Raises ConfigError."""
    if not isinstance(table, dict):
        raise ConfigError(
            f"recipe = {table!r} must be a table; write [recipe] and below it what differs from the task's own"
        )
    recipe = checked(Recipe, table, "recipe")
    for name, value in recipe.items():
        if not (value >= 0 if name in MAY_BE_ZERO else value > 0):
            raise ConfigError(
                f"recipe: {name} = {value} is too small; it must be {'0 or more' if name in MAY_BE_ZERO else 'above 0'}"
            )
        if not value <= (most := LARGEST.get(name, MOST_STEPS)):
            raise ConfigError(f"recipe: {name} = {value} is too large; it must be at most {most:,}")
    if recipe.get("patch", PATCH_MULTIPLE) % PATCH_MULTIPLE:
        raise ConfigError(
            f"recipe: patch = {recipe['patch']} must be a multiple of {PATCH_MULTIPLE}: networks halve it four times"
        )
    return recipe
