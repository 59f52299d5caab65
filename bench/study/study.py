"""Study: a TOML file that asks a grid of questions; its cells in the order of the table; its jobs, the cells that share their work.

    tasks x conventions x backbones x methods (rows) x ratios x seeds

The file is checked whole before anything runs (`bench.study.study_file`).
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from bench.contract import Convention, Shape
from bench.errors import ConfigError
from bench.files.checked_json import content_of
from bench.files.hashing import digest
from bench.plugins.backbones import belongs, completed, placed
from bench.plugins.options import configured, plain
from bench.plugins.registry import METHODS, TASKS, unknown
from bench.records import UNPRUNED, Cell
from bench.study.study_file import MOST_BYTES, Row, checked_fields, override, parsed

PACKAGED = Path(__file__).parent.parent / "studies"
OF_A_NETWORK = ("task", "task_options", "backbone", "backbone_options", "backbone_source")
SHARED_BY_A_JOB = (*OF_A_NETWORK, "convention", "method", "method_options", "label", "seed")


@dataclass(frozen=True)
class Job:
    """Cells that differ in their ratio only: one sweep of the method serves them."""

    cells: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """The same whatever ratios are asked."""
        return replace(self.cells[0], ratio=1.0).key

    def foreseen(self, seconds: Mapping[str, float]) -> float:
        """Seconds of its cells, by their keys."""
        return sum(seconds.get(cell.key, 0.0) for cell in self.cells)


@dataclass(frozen=True)
class Study:
    """A checked study.

    Args:
        name: of the file.
        tasks: (task, its options). backbones: (backbone, its options). rows: methods. ratios,
            seeds: as in the file.
        data: "embedded" or a folder. conventions: one table each. compute: see Cell. measured_at:
            None for each task's own.
        recipe: what differs from each task's own.
    """

    name: str
    tasks: tuple[tuple[str, Mapping[str, Any]], ...]
    backbones: tuple[tuple[str, Mapping[str, Any]], ...]
    rows: tuple[Row, ...]
    ratios: tuple[float, ...]
    seeds: tuple[int, ...]
    data: str
    conventions: tuple[Convention, ...]
    compute: str
    measured_at: Shape | None
    recipe: Mapping[str, Any]

    def cells(self) -> list[Cell]:
        """All questions, in the order of the table.

        Reads the data for its fingerprint; raises ConfigError if it cannot.
        """
        return list(self._cells)

    def jobs(self, cells: Iterable[Cell]) -> list[Job]:
        """Cells grouped by what they share, in the order of their first."""
        groups: dict[str, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(digest([getattr(cell, name) for name in SHARED_BY_A_JOB]), []).append(
                cell
            )
        return [Job(tuple(group)) for group in groups.values()]

    @cached_property
    def _cells(self) -> tuple[Cell, ...]:
        sources = {row.method: method_source(METHODS.get(row.method)) for row in self.rows}
        cells = []
        for name, options in self.tasks:
            task = configured(TASKS.get(name), options, f"task {name}")
            recipe = replace(task.recipe, **self.recipe)
            if self.compute == "matched" and not recipe.matched_steps:
                raise ConfigError(
                    'compute = "matched" needs the steps that every row gets; set recipe.matched_steps above 0'
                )
            base: dict[str, Any] = {
                "task": name,
                "task_options": plain(task),
                "recipe": recipe,
                "compute": self.compute,
            }
            base |= {"data": self.data, "data_fingerprint": task.fingerprint(self.data)}
            base |= {"measured_at": self.measured_at or task.measured_at}
            for convention, (backbone, backbone_options) in product(
                self.conventions, self.backbones
            ):
                if not belongs(task, backbone):  # it is another task's
                    continue
                chosen = completed(task, backbone, backbone_options)
                place = (
                    base
                    | {"convention": convention, "backbone_options": chosen}
                    | placed(backbone, chosen)
                )
                for row in self.rows:
                    asked = place | {
                        "method": row.method,
                        "method_options": dict(row.options),
                        "label": row.label,
                    }
                    asked |= {"method_source": sources[row.method]}
                    cells += [
                        Cell(**asked, ratio=ratio, seed=seed)
                        for ratio in self._ratios(row)
                        for seed in self.seeds
                    ]
        return tuple(cells)

    def _ratios(self, row: Row) -> tuple[float, ...]:
        return (1.0,) if row.method == UNPRUNED else self.ratios


def load_study(
    source: str | Path,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    seeds: Sequence[int] | None = None,
    convention: str | None = None,
) -> Study:
    """A study from a file, checked.

    Args:
        source: the name of a packaged study, or the path of a .toml.
        overrides: "recipe.finetune_steps=50", ...: values as in the file.
        data, seeds, convention: in place of the file's.

    Raises:
        ConfigError: no such study, broken TOML, or any key, name, option or value that cannot be
            used.
    """
    path = study_path(source)
    content = _content(path)
    for change in overrides:
        override(content, change)
    given = {
        "data": data,
        "seeds": list(seeds) if seeds is not None else None,
        "convention": convention,
    }
    return Study(
        path.stem,
        **checked_fields(
            content | {key: value for key, value in given.items() if value is not None}
        ),
    )


def _content(path: Path) -> dict[str, Any]:
    """What a file says, on top of the packaged study that it is `like`. Raises ConfigError."""
    content = parsed(_bytes_of(path), str(path))
    model = content.pop("like", None)
    if model is None:
        return content
    if model not in packaged_studies() or path == PACKAGED / f"{model}.toml":
        raise ConfigError(
            unknown("packaged study", str(model), packaged_studies())
            + f"; {path} names it in 'like'"
        )
    base = _content(PACKAGED / f"{model}.toml")
    tables = {
        key: base.get(key, {}) | content[key]
        for key in ("recipe", "options")
        if isinstance(content.get(key), dict)
    }
    return base | content | tables


def _bytes_of(path: Path) -> bytes:
    try:
        return content_of(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a study: {error}") from error


def packaged_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in PACKAGED.glob("*.toml"))


def study_path(source: str | Path) -> Path:
    """Where a study's file is. Raises ConfigError."""
    text = str(source)
    if not text.endswith(".toml") and "/" not in text:
        if text not in packaged_studies():
            raise ConfigError(
                unknown("study", text, packaged_studies()) + "; or give the path of a .toml file"
            )
        return PACKAGED / f"{text}.toml"
    if not Path(text).is_file():
        raise ConfigError(
            f"there is no study file {text}; give an existing .toml or one of {', '.join(packaged_studies())}"
        )
    return Path(text)


def method_source(cls: type) -> str:
    """Hash of the source of a method: of its file or, where it lives in a package of its own, of all Python files of that folder.

    Only the code counts: comments, docstrings, formatting and the modules that names are imported
    from may change.
    """
    module = sys.modules[cls.__module__]
    path = Path(module.__file__ or "")
    own_package = path.name == "__init__.py" or cls.__module__.count(".") > 1
    files = sorted(path.parent.rglob("*.py")) if own_package else [path]
    whole = hashlib.sha256()
    for file in files:
        whole.update(
            f"{file.relative_to(path.parent).as_posix()}\0".encode()
            + hashlib.sha256(_code(file).encode()).digest()
        )
    return whole.hexdigest()


def _code(file: Path) -> str:
    """A Python file without what does not change its answers, behind the names that it gives to what it imports."""
    tree = ast.parse(file.read_bytes())
    imported = [
        alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    renamed = sorted(f"{alias.name} as {alias.asname}" for alias in imported if alias.asname)
    return "\n".join([*renamed, ast.unparse(_Stripped().visit(tree))])


class _Stripped(ast.NodeTransformer):
    """Takes out imports and docstrings."""

    def visit_Import(self, node: ast.Import) -> None:
        """Goes."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Goes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Goes where it is only a text."""
        return (
            None
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            else node
        )
