"""The floors, the package arrows, the doors and the gauges of the house, read from the imports by ast.

A module imports only floors that are not above its own. Nothing goes round in a circle. Each outside library has one door.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "methods", "tasks")

FLOORS = {  # a name with a dot at its end stands for all modules of that package; the longest name counts
    "bench": 0,
    "bench.contract": 0,
    "bench.errors": 0,
    "bench.units": 0,
    "bench.atomic": 0,
    "bench.bounded": 0,
    "bench.annotations": 0,
    "bench.modes": 0,
    "bench.python_file": 1,
    "bench.signatures": 1,
    "bench.registry": 1,
    "bench.staged": 1,
    "bench.cell": 1,
    "bench.sealed": 1,
    "bench.memory.": 1,
    "bench.export.": 2,
    "bench.surgery.": 2,
    "bench.lean.": 2,
    "bench.options": 2,
    "bench.network_file": 2,
    "bench.backbones": 2,
    "bench.stopping": 0,
    "bench.metering": 0,
    "bench.checkpoints": 2,
    "bench.training": 3,
    "bench.pretrained": 3,
    "bench.evaluation": 3,
    "bench.surroundings": 3,
    "bench.patches": 3,
    "bench.data_check": 3,
    "bench.saved": 3,
    "bench.referee": 3,
    "bench.study": 4,
    "bench.study_file": 4,
    "bench.store": 5,
    "bench.claims": 5,
    "bench.time_limit": 5,
    "bench.failures": 5,
    "bench.progress": 5,
    "bench.forecast": 6,
    "bench.plan": 6,
    "bench.job": 6,
    "bench.run": 6,
    "bench.measuring": 6,
    "bench.chosen": 6,
    "bench.exporting": 6,
    "bench.execution.": 7,
    "bench.copied": 6,
    "bench.tracking": 7,
    "bench.report.": 7,
    "bench.testing.": 7,
    "bench.single": 7,
    "bench.api": 7,
    "bench.catalogue": 7,
    "bench.arguments": 8,
    "bench.commands.": 8,
    "bench.cli": 8,
}

MAY_IMPORT = {
    "methods": (
        "bench.contract",
        "bench.staged",
        "bench.modes",
        "bench.registry",
        "bench.errors",
        "bench.memory.",
        "bench.surgery.",
    ),
    "tasks": ("bench.contract", "bench.registry", "bench.errors", "bench.atomic", "bench.bounded", "tasks."),
}

DOORS = {
    "torch.fx": ("bench/memory/tracing.py", "bench/memory/reading.py", "bench/export/", "bench/lean/"),
    "torch.export": ("bench/memory/tracing.py",),
    "torch_pruning": ("bench/surgery/channels.py", "bench/surgery/library_importance.py"),
    "scipy": ("methods/mosp/allocation.py", "tasks/data/sidd.py", "bench/report/statistics.py"),
    "rawpy": ("tasks/data/sid.py",),
    "PIL": ("tasks/data/photographs.py", "bench/patches.py"),
    "tqdm": ("tasks/data/prepared.py", "bench/execution/worker.py"),
    "optuna": ("methods/random_search.py",),
    "skimage": ("tasks/metrics.py", "tasks/data/embedded.py"),
    "sklearn": ("tasks/metrics.py", "tasks/data/embedded.py"),
    "pandas": ("bench/report/frame.py",),
    "seaborn": ("bench/report/",),
    "matplotlib": ("bench/report/",),
    "plotly": ("bench/report/interactive.py",),
    "jinja2": ("bench/report/page.py",),
    "mlflow": ("bench/tracking.py",),
    "ray": ("bench/execution/ray.py",),
    "filelock": ("bench/claims.py",),
    "onnx": ("bench/export/onnx_file.py",),
    "onnxruntime": ("bench/export/onnx_file.py", "bench/export/onnx_runtime.py"),
}

LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 40


@cache
def sources() -> dict[str, tuple[Path, ast.Module]]:
    """Module name -> file below the root, syntax tree."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return {name: (path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))) for name, path in zip(names, files, strict=True)}


def imports(tree: ast.Module) -> set[str]:
    """Every dotted name that is imported at the top or inside a function; `from a import b` gives a.b."""
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return found | {f"{node.module}.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


@cache
def arrows() -> dict[str, set[str]]:
    """Module -> the modules of this project that it imports."""
    ours = sources().keys()
    return {
        name: {dotted if dotted in ours else dotted.rpartition(".")[0] for dotted in imports(tree) if inside(dotted, PACKAGES)}
        for name, (_, tree) in sources().items()
    }


def inside(dotted: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the prefixes or lies in one of them."""
    return any(dotted == prefix.rstrip(".") or dotted.startswith(prefix.rstrip(".") + ".") for prefix in prefixes)


def floor(module: str) -> int | None:
    known = [name for name in FLOORS if module == name or module == name.rstrip(".") or (name.endswith(".") and module.startswith(name))]
    return FLOORS[max(known, key=len)] if known else None


def functions() -> Iterator[tuple[str, int]]:
    """(where, lines of the body without the docstring) of each function."""
    for path, tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_every_module_of_bench_has_a_floor() -> None:
    assert [name for name in sources() if name.startswith("bench") and floor(name) is None] == []


def test_a_module_imports_no_higher_floor() -> None:
    steps = [
        (name, other) for name, others in arrows().items() for other in others if inside(name, ("bench",)) and inside(other, ("bench",))
    ]
    assert [f"{name} imports {other}" for name, other in steps if (floor(name) or 0) < (floor(other) or 0)] == []


def test_bench_imports_neither_methods_nor_tasks() -> None:
    assert [
        name for name, others in arrows().items() if name.startswith("bench") for other in others if not inside(other, ("bench",))
    ] == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_methods_and_tasks_import_only_what_they_may(package: str) -> None:
    found = []
    for name, others in arrows().items():
        own = ".".join(name.split(".")[:2])  # a method is one file or one folder
        found += [
            f"{name} imports {other}" for other in others if inside(name, (package,)) and not inside(other, (*MAY_IMPORT[package], own))
        ]
    assert found == []


def test_imports_do_not_go_round_in_a_circle() -> None:
    left = {name: set(others) for name, others in arrows().items()}
    while free := [name for name, others in left.items() if not others & (left.keys() - {name})]:
        for name in free:
            del left[name]
    assert sorted(left) == []


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_imported_through_its_door(library: str) -> None:
    users = {
        path.as_posix() for path, tree in sources().values() if any(inside(dotted, (library,)) for dotted in imports(tree) | written(tree))
    }
    assert sorted(user for user in users if not user.startswith(DOORS[library])) == []


def written(tree: ast.Module) -> set[str]:
    """Names like torch.fx that are reached by attribute."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}


def test_nothing_heavy_comes_with_the_contract() -> None:
    code = "import sys, bench.contract; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & (DOORS.keys() - {"torch.fx", "torch.export", "tqdm"}) == set()  # tqdm comes with torch


@pytest.mark.parametrize("package", PACKAGES)
def test_package_doors_hold_a_docstring_only(package: str) -> None:
    tree = sources()[package][1]
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_every_module_says_what_lives_in_it() -> None:
    assert [str(path) for path, tree in sources().values() if not ast.get_docstring(tree)] == []


def test_no_file_is_a_drawer() -> None:
    assert [str(path) for path, _ in sources().values() if path.stem in ("utils", "helpers", "misc", "common")] == []


def test_imports_are_absolute() -> None:
    relative = [path for path, tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert [str(path) for path in relative] == []


def test_no_assert_guards_the_users_input() -> None:
    asserts = [f"{path}:{node.lineno}" for path, tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert asserts == []


RUNS_WHAT_IT_READS = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "yaml"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "pickle.loads", "pickle.load", "os.system", "os.popen"}
SERVES = {
    "socketserver",
    "http.server",
    "xmlrpc.server",
    "mlflow.server",
    "multiprocessing.managers",
    "multiprocessing.connection.Listener",
}


def _calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_that_is_read_is_executed() -> None:
    found = [str(path) for path, tree in sources().values() if {name.partition(".")[0] for name in imports(tree)} & RUNS_WHAT_IT_READS]
    for path, tree in sources().values():
        found += [f"{path}: {call}" for call in {ast.unparse(node.func) for node in _calls(tree)} & RUNS_TEXT]
        named = [(keyword.arg, ast.unparse(keyword.value)) for node in _calls(tree) for keyword in node.keywords]
        found += [f"{path}: {name}" for name, value in named if (name, value) in (("allow_pickle", "True"), ("shell", "True"))]
    assert found == []


def test_no_service_is_opened_to_the_network() -> None:
    found = [f"{path}: {name}" for path, tree in sources().values() for name in imports(tree) if inside(name, tuple(SERVES))]
    texts = [(path, node.value) for path, tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert found + [str(path) for path, text in texts if text in ("0.0.0.0", "::")] == []


def test_no_exception_is_passed_over_in_silence() -> None:
    handlers = [(path, node) for path, tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    assert [f"{path}:{node.lineno}" for path, node in handlers if all(isinstance(line, ast.Pass) for line in node.body)] == []


def test_files_and_functions_stay_short() -> None:
    files = {str(path): len((ROOT / path).read_text("utf-8").splitlines()) for path, _ in sources().values()}
    assert {path: lines for path, lines in files.items() if lines > LINES_OF_A_FILE} == {}
    assert {where: lines for where, lines in functions() if lines > LINES_OF_A_FUNCTION} == {}
