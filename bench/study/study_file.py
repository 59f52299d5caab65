"""Parse and check the content of a study file.

A message about an unknown key, name or option names the nearest known one. Every message is one
line.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, get_args

import torch

from bench.contract import Convention, Recipe, Task
from bench.errors import ConfigError, describe_unknown, match_name
from bench.files.hashing import digest
from bench.files.schema import check
from bench.plugins.backbones import backbone_names, build, has_backbone
from bench.plugins.network_file import file_path, is_network_file, is_user_network
from bench.plugins.options import check_options, configure, option_values, parse_toml_value
from bench.plugins.registry import METHODS, TASKS
from bench.records import MAX_LABEL_LENGTH
from bench.study.run_options import take_run_options
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
GRID = ("tasks", "convention", "backbones", "methods", "ratios", "seeds")  # multiplied
COMPUTE = ("own", "matched")
PATCH_MULTIPLE = 16
MAX_STUDY_BYTES = 2**17
MAX_LINE_BYTES = 2**12  # the time to parse a dotted key grows with the square of its length
MAX_CELLS = 20_000
SEED_LIMIT = 2**32
MAX_STEPS = 10**8
CHANNEL_MULTIPLES = (1, 2, 4, 8, 16)
MAX_RECIPE_VALUES: dict[str, float] = {  # for all others, MAX_STEPS
    "patch": 4096,
    "batch": 4096,
    "calibration_crops": 4096,
    "min_width": 2**16,
    "threads": 1024,
    "pretrain_rate": 1e30,
    "tuning_rate": 1e30,
    "max_gradient_norm": 1e30,
    "pretrain_halvings": 1000,
    "tuning_halvings": 1000,
    "averaging": 0.99999,
    "distillation": 1.0,
}
MAY_BE_ZERO = (
    "pretrain_steps",
    "adapt_steps",
    "finetune_steps",
    "matched_steps",
    "pretrain_halvings",
    "pretrain_warmup",
    "tuning_halvings",
    "tuning_warmup",
    "max_gradient_norm",
    "averaging",
    "distillation",
)


@dataclass(frozen=True)
class StudyRow:
    """A row of the table.

    Args:
        method, options: the method with its options.
        label: the name of the row.
        run_options: how the network is run, see `bench.records.Cell`.
    """

    method: str
    options: Mapping[str, Any]
    label: str
    run_options: Mapping[str, Any] = field(default_factory=dict)


def parse_toml(raw: bytes, where: str) -> dict[str, Any]:
    """Parse the content of a TOML file.

    Args:
        raw: the bytes of the file.
        where: the name of the file, for messages.

    Raises:
        ConfigError: it is not valid TOML; the message has the line.
    """
    if (longest := max(map(len, raw.splitlines()), default=0)) > MAX_LINE_BYTES:
        raise ConfigError(
            f"{where} has a line of {longest:,} bytes, more than {MAX_LINE_BYTES:,}; break it"
        )
    try:
        return tomllib.loads(raw.decode())
    except RecursionError as error:
        raise ConfigError(f"{where} is nested too deeply for a study") from error
    except ValueError as error:  # invalid TOML, invalid UTF-8, or a number of thousands of digits
        hint = "" if "line" in str(error) else f" (the last line is {len(raw.splitlines())})"
        raise ConfigError(f"{where} is not valid TOML: {error}{hint}") from error


def apply_override(content: dict[str, Any], text: str) -> None:
    """Set one key in place, from "a.b=value"; a value that is not valid TOML is taken as text.

    Raises:
        ConfigError: the text has another form, or `a` is a value and not a table.
    """
    path, equals, value = text.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(
            f"--set {text} is not of the form KEY=VALUE; "
            "write for example --set recipe.finetune_steps=50"
        )
    table = content
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text}: '{name}' is a value, not a table")
    table[names[-1]] = parse_toml_value(value)


def parse_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """Check the content of a study file; return the fields of Study, except its name.

    Raises:
        ConfigError: a key, name, option or value cannot be used.
    """
    for key in content:
        if key not in KEYS:
            raise ConfigError(describe_unknown("study key", key, KEYS))
        _check_json_value(key, content[key])
    check_grid_size(content)
    tasks = tuple(_parse_entries(content, "tasks", "task", TASKS.find))
    built_tasks = [configure(TASKS.get(name), options, f"task {name}") for name, options in tasks]
    known = {name for task in built_tasks for name in backbone_names(task)}
    backbones = tuple(
        _parse_entries(content, "backbones", "backbone", lambda name: match_name(name, known))
    )
    _check_file_names([backbone for backbone, _ in backbones])
    for backbone, options in backbones:
        _check_backbone(built_tasks, backbone, options)
    for task in built_tasks:
        if not any(has_backbone(task, backbone) for backbone, _ in backbones):
            raise ConfigError(
                f"no backbone of the study belongs to task {task.name}; "
                f"add one of {', '.join(backbone_names(task))}"
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
        "rows": _parse_rows(content),
        "ratios": _parse_numbers(content, "ratios", float),
        "seeds": _parse_numbers(content, "seeds", int),
        "data": data,
        "conventions": _parse_conventions(content),
        "compute": _parse_choice(content, "compute", COMPUTE),
        "measured_at": None if measured_at is None else parse_shape(str(measured_at)),
        "recipe": parse_recipe(content.get("recipe", {})),
    }


def _check_json_value(key: str, value: Any) -> None:
    """Raise ConfigError for a value that JSON lacks, is not finite or is nested too deeply."""
    try:
        check(value, Any, key)
    except ValueError as error:
        raise ConfigError(f"the study cannot be used: {error}") from error


def check_grid_size(content: Mapping[str, Any]) -> None:
    """Raise ConfigError if the grid has too many cells; called before anything is built."""
    factors = [key for key in GRID if isinstance(content.get(key), list)]
    cells = prod(len(content[key]) for key in factors)
    if cells > MAX_CELLS:
        sizes = " x ".join(f"{len(content[key]):,} {key}" for key in factors)
        raise ConfigError(
            f"the study has {cells:,} cells ({sizes}), more than {MAX_CELLS:,}; "
            "split it into several studies"
        )


def _parse_entries(
    content: Mapping[str, Any], key: str, word: str, find: Callable[[str], str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, options) of each entry of a list of names and tables.

    Args:
        content: the study file.
        key: the key of the list, "methods".
        word: the key of the name in a table, "method".
        find: returns a name as it was registered.
    """
    entries = content.get(key, [])
    if not isinstance(entries, list) or not entries:
        raise ConfigError(
            f"the study needs {key} = [...], a list with at least one {word}; found {entries!r}"
        )
    pairs: list[tuple[str, dict[str, Any]]] = []
    for entry in entries:
        table = {word: entry} if isinstance(entry, str) else entry
        if not isinstance(table, dict) or not isinstance(table.get(word), str):
            raise ConfigError(
                f"{key} has the entry {entry!r}; "
                f'give a name in quotes or a table {{{word} = "NAME", ...}}'
            )
        options = {name: value for name, value in table.items() if name != word}
        pairs.append((find(table[word]), options))
        if key != "methods" and pairs[-1] in pairs[:-1]:
            raise ConfigError(f"{key} has the entry {entry!r} twice; remove one")
    return pairs


def _check_file_names(backbones: Sequence[str]) -> None:
    """Raise ConfigError if network files in different folders have one name.

    Tables show only the name.
    """
    folders: dict[str, Path] = {}
    for path in (file_path(name).absolute() for name in backbones if is_network_file(name)):
        first = folders.setdefault(path.name, path.parent)
        if first != path.parent:
            raise ConfigError(
                f"two networks are called {path.name}, in {first} and in {path.parent}; "
                "rename one of the files"
            )


def _check_backbone(tasks: Sequence[Task], backbone: str, options: Mapping[str, Any]) -> None:
    """Build a backbone once for each task that has it, without memory for a task's own weights.

    Raises:
        ConfigError: no task has it, or it cannot be built.
    """
    users = [task for task in tasks if has_backbone(task, backbone)]
    if not users:
        known = {name for task in tasks for name in backbone_names(task)}
        task_names = " or ".join(task.name for task in tasks)
        raise ConfigError(describe_unknown(f"backbone of task {task_names}", backbone, known))
    # On "meta", tensors have no memory. The file of a user may read weights, which needs memory.
    device = "cpu" if is_user_network(backbone) else "meta"
    try:
        with torch.device(device):
            for task in users:
                build(task, backbone, options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"backbone {backbone}: {error}") from error


def _parse_rows(content: Mapping[str, Any]) -> tuple[StudyRow, ...]:
    defaults = content.get("options", {})
    if not isinstance(defaults, dict) or not all(
        isinstance(table, dict) for table in defaults.values()
    ):
        raise ConfigError("options must be tables; write [options.METHOD] and below it the options")
    defaults = {METHODS.find(name): options for name, options in defaults.items()}
    for name, options in defaults.items():
        check_options(METHODS.get(name), options, f"method {name}")
    rows = [
        _parse_row(name, defaults.get(name, {}), dict(options))
        for name, options in _parse_entries(content, "methods", "method", METHODS.find)
    ]
    _check_distinct(rows)
    return tuple(rows)


def _check_distinct(rows: Sequence[StudyRow]) -> None:
    """Raise ConfigError if two rows have one label, or the same method and options."""
    labels: set[str] = set()
    twins: dict[str, StudyRow] = {}
    for row in rows:
        if row.label in labels:
            raise ConfigError(f"two rows are called '{row.label}'; give one of them another label")
        labels.add(row.label)
        twin = twins.setdefault(digest([row.method, row.options, row.run_options]), row)
        if twin is not row:
            raise ConfigError(
                f"rows '{twin.label}' and '{row.label}' are the same: "
                f"{row.method} with equal options; remove one"
            )


def _parse_row(name: str, defaults: Mapping[str, Any], options: dict[str, Any]) -> StudyRow:
    label = options.pop("label", None) or ", ".join(
        [name, *(f"{option}={value}" for option, value in options.items())]
    )
    if not isinstance(label, str) or len(label) > MAX_LABEL_LENGTH or not label.isprintable():
        raise ConfigError(
            f"label = {label!r} of method {name} cannot be used; give text in quotes, at most "
            f"{MAX_LABEL_LENGTH} characters, without control characters"
        )
    run_options = take_run_options(name, options, label)
    method = configure(METHODS.get(name), {**defaults, **options}, f"method {name}")
    return StudyRow(name, option_values(method), label, run_options)


def _parse_conventions(content: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the conventions: one, or several in a list."""
    value = content.get("convention", "planned")
    values = value if isinstance(value, list) and value else [value]
    if len(set(map(str, values))) < len(values):
        raise ConfigError(f"convention = {value} names a value twice")
    return tuple(
        _parse_choice({"convention": entry}, "convention", get_args(Convention)) for entry in values
    )


def _parse_numbers(content: Mapping[str, Any], key: str, kind: type) -> tuple[Any, ...]:
    values = content.get(key, [0] if key == "seeds" else None)
    if not isinstance(values, list) or not values:
        raise ConfigError(f"the study needs {key} = [...], a list of numbers; found {values!r}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{key} has the entry {value!r}, which is not a number")
        if key == "ratios" and not 0 < value <= 1:
            raise ConfigError(
                f"ratio {value} is outside (0, 1]; "
                "it is the share of the unpruned peak memory that may be used"
            )
        if key == "seeds" and (not isinstance(value, int) or not 0 <= value < SEED_LIMIT):
            raise ConfigError(f"seed {value} is not a whole number from 0 to {SEED_LIMIT - 1}")
    if len(set(values)) < len(values):
        raise ConfigError(f"{key} = {values} names a value twice")
    return tuple(kind(value) for value in values)


def _parse_choice(content: Mapping[str, Any], key: str, choices: Sequence[str]) -> Any:
    value = content.get(key, choices[0])
    if value not in choices:
        raise ConfigError(describe_unknown(key, str(value), choices))
    return value


def parse_recipe(table: Any) -> dict[str, Any]:
    """Check the values of a recipe that differ from a task's own; return them by field.

    Raises:
        ConfigError: the table is not a table, or a name or value cannot be used.
    """
    if not isinstance(table, dict):
        raise ConfigError(
            f"recipe = {table!r} must be a table; "
            "write [recipe] and below it what differs from the task's own"
        )
    recipe = check_options(Recipe, table, "recipe")
    for name, value in recipe.items():
        if isinstance(value, str):
            continue
        if not (value >= 0 if name in MAY_BE_ZERO else value > 0):
            least = "0 or more" if name in MAY_BE_ZERO else "above 0"
            raise ConfigError(f"recipe: {name} = {value} is too small; it must be {least}")
        most = MAX_RECIPE_VALUES.get(name, MAX_STEPS)
        if not value <= most:
            raise ConfigError(f"recipe: {name} = {value} is too large; it must be at most {most:,}")
    if recipe.get("patch", PATCH_MULTIPLE) % PATCH_MULTIPLE:
        raise ConfigError(
            f"recipe: patch = {recipe['patch']} must be a multiple of {PATCH_MULTIPLE}: "
            "networks halve it four times"
        )
    if (multiple := recipe.get("channel_multiple", 1)) not in CHANNEL_MULTIPLES:
        raise ConfigError(
            f"recipe: channel_multiple = {multiple}; it must be one of "
            f"{', '.join(map(str, CHANNEL_MULTIPLES))}"
        )
    return recipe
