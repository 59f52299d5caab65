"""Studies: the grid of cells that a TOML file asks for, and the jobs by which they are computed.

    tasks x conventions x backbones x methods (rows) x ratios x seeds

The cells are in the order of the table. A job is the cells that share their work. The file is
checked completely before anything runs (`bench.study.study_file`).
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from bench.contract import Convention, Shape, Task
from bench.errors import ConfigError, describe_unknown
from bench.files.checked_json import read_limited
from bench.files.hashing import digest
from bench.plugins.backbones import backbone_fields, complete_options, has_backbone
from bench.plugins.options import configure, set_option_values
from bench.plugins.registry import METHODS, TASKS
from bench.plugins.source_files import method_source
from bench.records import UNPRUNED, Cell
from bench.study.packaged import PACKAGED_STUDIES, packaged_studies, study_path
from bench.study.study_file import (
    MAX_STUDY_BYTES,
    StudyRow,
    apply_override,
    parse_fields,
    parse_toml,
)

NETWORK_FIELDS = ("task", "task_options", "backbone", "backbone_options", "backbone_source")
METHOD_FIELDS = ("method", "method_options", "run_options")
JOB_FIELDS = (*NETWORK_FIELDS, "convention", *METHOD_FIELDS, "label", "seed")


@dataclass(frozen=True)
class Job:
    """Cells that differ only in their ratio: one sweep of the method computes them."""

    cells: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """A hash that is the same for all ratios."""
        return replace(self.cells[0], ratio=1.0).key

    def expected_seconds(self, seconds: Mapping[str, float]) -> float:
        """Return the sum of the expected seconds of its cells, given by cell key."""
        return sum(seconds.get(cell.key, 0.0) for cell in self.cells)


@dataclass(frozen=True)
class Study:
    """A study whose content has been checked.

    Args:
        name: the name of the file.
        tasks, backbones: (name, options).
        rows: the methods, one for each row of the table.
        ratios, seeds: each row is computed for all of them.
        data: "embedded" or a folder.
        conventions: one table for each.
        compute: see Cell.
        measured_at: the input (N, C, H, W) for peak memory; None for each task's own.
        recipe: the values that differ from each task's own recipe.
    """

    name: str
    tasks: tuple[tuple[str, Mapping[str, Any]], ...]
    backbones: tuple[tuple[str, Mapping[str, Any]], ...]
    rows: tuple[StudyRow, ...]
    ratios: tuple[float, ...]
    seeds: tuple[int, ...]
    data: str
    conventions: tuple[Convention, ...]
    compute: str
    measured_at: Shape | None
    recipe: Mapping[str, Any]

    def cells(self) -> list[Cell]:
        """Return all cells, in the order of the table.

        Raises:
            ConfigError: the data, whose fingerprint is computed, cannot be read.
        """
        return list(self._cells)

    def jobs(self, cells: Iterable[Cell]) -> list[Job]:
        """Group cells into jobs, in the order of their first cells."""
        groups: dict[str, list[Cell]] = {}
        for cell in cells:
            shared = digest([getattr(cell, name) for name in JOB_FIELDS])
            groups.setdefault(shared, []).append(cell)
        return [Job(tuple(group)) for group in groups.values()]

    def select_last_rows(self, count: int) -> "Study":
        """Return the study of its last rows, and of the unpruned network that they start from."""
        unpruned = [
            row
            for row in self.rows[:-count]
            if row.method == UNPRUNED and not row.run_options and not row.options.get("finetune")
        ]
        return replace(self, rows=(*unpruned, *self.rows[-count:]))

    @cached_property
    def _cells(self) -> tuple[Cell, ...]:
        sources = {row.method: method_source(METHODS.get(row.method)) for row in self.rows}
        cells = []
        for name, options in self.tasks:
            task = configure(TASKS.get(name), options, f"task {name}")
            task_fields = self._task_fields(name, task)
            for convention, (backbone, backbone_options) in product(
                self.conventions, self.backbones
            ):
                if not has_backbone(task, backbone):  # it is another task's
                    continue
                complete = complete_options(task, backbone, backbone_options)
                network_fields: dict[str, Any] = {
                    "convention": convention,
                    "backbone_options": complete,
                    **backbone_fields(backbone, complete),
                }
                for row in self.rows:
                    row_fields: dict[str, Any] = {
                        "method": row.method,
                        "method_options": dict(row.options),
                        "run_options": dict(row.run_options),
                        "label": row.label,
                        "method_source": sources[row.method],
                    }
                    cells += [
                        Cell(**task_fields, **network_fields, **row_fields, ratio=ratio, seed=seed)
                        for ratio in self._ratios(row)
                        for seed in self.seeds
                    ]
        return tuple(cells)

    def _task_fields(self, name: str, task: Task) -> dict[str, Any]:
        """Return the fields that all cells of a task share."""
        recipe = replace(task.recipe, **self.recipe)
        if self.compute == "matched" and not recipe.matched_steps:
            raise ConfigError(
                'compute = "matched" needs the steps that every row gets; '
                "set recipe.matched_steps above 0"
            )
        return {
            "task": name,
            "task_options": set_option_values(task),
            "recipe": recipe,
            "compute": self.compute,
            "data": self.data,
            "data_fingerprint": task.fingerprint(self.data),
            "measured_at": self.measured_at or task.measured_at,
        }

    def _ratios(self, row: StudyRow) -> tuple[float, ...]:
        return (1.0,) if row.method == UNPRUNED and not row.run_options else self.ratios


def load_study(
    source: str | Path,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    seeds: Sequence[int] | None = None,
    convention: str | None = None,
    more_rows: Sequence[Mapping[str, Any]] = (),
) -> Study:
    """Read and check a study file.

    Args:
        source: the name of a packaged study, or the path of a .toml file.
        overrides: "recipe.finetune_steps=50", ...: values as in the file.
        data: replaces the file's value if not None.
        seeds: replaces the file's value if not None.
        convention: replaces the file's value if not None.
        more_rows: tables as in `methods`, added below those of the file.

    Raises:
        ConfigError: no such study, broken TOML, or any key, name, option or value that cannot be
            used.
    """
    path = study_path(source)
    seed_list = None if seeds is None else list(seeds)
    content = _read_study(path)
    return study_from_values(
        path.stem,
        content,
        overrides,
        more_rows,
        data=data,
        seeds=seed_list,
        convention=convention,
    )


def study_from_values(
    name: str,
    content: Mapping[str, Any],
    overrides: Sequence[str] = (),
    more_rows: Sequence[Mapping[str, Any]] = (),
    **replacements: Any,
) -> Study:
    """Return a study from plain values, checked like the content of a study file.

    Args:
        name: the name of the study.
        content: the keys and values of a study file, without `like`; it stays as it is.
        overrides: "recipe.finetune_steps=50", ...: values as in the file.
        more_rows: see `load_study`.
        **replacements: key -> value that replaces that of file and overrides; None keeps it.

    Raises:
        ConfigError: a key, name, option or value cannot be used.
    """
    values = deepcopy(dict(content))
    for assignment in overrides:
        apply_override(values, assignment)
    values |= {key: value for key, value in replacements.items() if value is not None}
    if more_rows and isinstance(values.get("methods"), list):
        values["methods"] += more_rows
    return Study(name, **parse_fields(values))


def _read_study(path: Path) -> dict[str, Any]:
    """Return the content of a study file, merged into the packaged study that it is `like`."""
    content = parse_toml(_read_bytes(path), str(path))
    like = content.pop("like", None)
    if like is None:
        return content
    if like not in packaged_studies() or path == PACKAGED_STUDIES / f"{like}.toml":
        message = describe_unknown("packaged study", str(like), packaged_studies())
        raise ConfigError(f"{message}; {path} names it in 'like'")
    base = _read_study(PACKAGED_STUDIES / f"{like}.toml")
    tables = {
        key: base.get(key, {}) | content[key]
        for key in ("recipe", "options")
        if isinstance(content.get(key), dict)
    }
    return base | content | tables


def _read_bytes(path: Path) -> bytes:
    try:
        return read_limited(path, MAX_STUDY_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a study: {error}") from error
