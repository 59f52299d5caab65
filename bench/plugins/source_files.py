"""Source code of plugins and networks: which files it is in, and its hash.

A file counts with all files that it imports from its own folder, wherever in it the import stands,
and with all that these import. Of a package in the folder all files count, because a package may
import its modules by names that it makes up. A file that lies in a package itself may also import
from that package: there, each module counts that is named. Hashes do not depend on where the folder
is.

In the folder of installed packages, only modules count that were installed together with the file.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from bench.plugins.user_file import OUR_PACKAGES

INSTALLED = ("site-packages", "dist-packages")
IMPORT_CALLS = ("import_module", "__import__")


def method_source(cls: type) -> str:
    """Return a hash of a method's code: of its file, or of all files of its package.

    Of a method that is not ours, the files that these import from the same folder or package count
    too. Only the code counts: comments, docstrings, `departures`, formatting and the modules from
    which names are imported do not change the hash.
    """
    module = cls.__module__
    path = Path(sys.modules[module].__file__ or "").resolve()
    own_package = path.name == "__init__.py" or module.count(".") > 1
    files = set(path.parent.rglob("*.py")) if own_package else {path}
    if module.partition(".")[0] not in OUR_PACKAGES:
        files = collect_sources(files, path.parent)
    return hash_files(files, path.parent, lambda file: normalize_code(file).encode())


def hash_files(files: Iterable[Path], folder: Path, read: Callable[[Path], bytes]) -> str:
    """Return a hash of the names of files, relative to a folder, and of what `read` gives."""
    whole = hashlib.sha256()
    for name, file in sorted((Path(os.path.relpath(file, folder)), file) for file in files):
        whole.update(f"{name.as_posix()}\0".encode() + hashlib.sha256(read(file)).digest())
    return whole.hexdigest()


def collect_sources(files: Iterable[Path], folder: Path) -> set[Path]:
    """Return files, and all that they import from a folder and from their own packages.

    Args:
        files: absolute paths.
        folder: from which the files are imported.
    """
    collected: set[Path] = set()
    waiting = list(files)
    while waiting:
        file = waiting.pop()
        if file not in collected:
            collected.add(file)
            waiting += _find_imports(file, folder)
    return collected


def _find_imports(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files that a file imports from the folder, or from its own package."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # running the file will report it
        return
    top = file.parent  # of its package; a folder without __init__.py may be one, too
    while (top / "__init__.py").is_file() and (top.parent / "__init__.py").is_file():
        top = top.parent
    for level, dotted in set(_imported_names(tree)):
        first = dotted.partition(".")[0]
        if level:
            found = list(_module_files(file.parents[min(level, len(file.parents)) - 1], dotted))
        elif first in OUR_PACKAGES or not first.isidentifier():
            continue
        else:
            found = list(_module_files(top.parent, dotted)) if first == top.name else []
            if folder.name not in INSTALLED or _are_installed_together(file.stem, first):
                found += [folder / f"{first}.py", *(folder / first).rglob("*.py")]
        yield from (path for path in found if path.is_file())


def _imported_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (level, dotted name) of all that a file imports, also of what is no module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = f"{node.module}." if node.module else ""
            yield from ((node.level, f"{prefix}{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(IMPORT_CALLS):
            texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
            names = [text for text in texts[:1] if isinstance(text, str)]
            yield from ((len(name) - len(name.lstrip(".")), name.lstrip(".")) for name in names)


def _module_files(root: Path, dotted: str) -> Iterator[Path]:
    """Yield where the file of a module may be, and those of the packages that it lies in."""
    yield root / "__init__.py"
    parts = [part for part in dotted.split(".") if part.isidentifier()]  # without a star
    for count in range(1, len(parts) + 1):
        module = root.joinpath(*parts[:count])
        yield from (module / "__init__.py", module.with_name(f"{module.name}.py"))


def _are_installed_together(module: str, other: str) -> bool:
    """Return whether one installed distribution has both modules."""
    owners = _owners()
    return bool(set(owners.get(module, ())) & set(owners.get(other, ())))


@cache
def _owners() -> dict[str, list[str]]:
    return dict(packages_distributions())


def normalize_code(file: Path) -> str:
    """Return the aliases of a file's imports, then its code without imports and docstrings."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # a file of a package that is never imported
        return file.read_text("utf-8", "replace")
    imported = [
        alias for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    renamed = sorted(f"{alias.name} as {alias.asname}" for alias in imported if alias.asname)
    return "\n".join([*renamed, ast.unparse(_CodeStripper().visit(tree))])


class _CodeStripper(ast.NodeTransformer):
    """Remove imports, docstrings and the departures of a method."""

    def visit_Import(self, node: ast.Import) -> None:
        """Remove the statement."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Remove the statement."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign | None:
        """Remove the statement if it lists departures."""
        return None if ast.unparse(node.target) == "departures" else node

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | None:
        """Remove the statement if it lists departures."""
        return None if ast.unparse(node.targets[0]) == "departures" else node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Remove the statement if it is only a text."""
        value = node.value
        return None if isinstance(value, ast.Constant) and isinstance(value.value, str) else node
