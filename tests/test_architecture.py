"""The structure of the code, read from its imports: floors, packages, adapters and sizes.

A module imports only from its own floor and the floors below. There are no import cycles. Each
outside library is imported by its adapter alone.
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

FLOORS = (  # lowest first; rooms on one floor may import each other, without a cycle
    (
        "bench",
        "bench.errors",
        "bench.units",
        "bench.contract",
        "bench.torch_state",
        "bench.method_bases",
        "bench.files",
        "bench.records",
    ),
    ("bench.graph", "bench.plugins"),
    ("bench.channels", "bench.runtimes"),
    ("bench.memory",),
    ("bench.surgery",),
    ("bench.lean",),
    ("bench.training", "bench.study", "bench.tiling"),
    ("bench.export",),
    ("bench.runner", "bench.report"),
    ("bench.testing", "bench.api", "bench.fit"),
    ("bench.cli",),
)

MAY_IMPORT = {
    "methods": (
        "bench.contract",
        "bench.errors",
        "bench.torch_state",
        "bench.method_bases",
        "bench.plugins.registry",
        "bench.graph",
        "bench.channels",
        "bench.memory",
        "bench.surgery",
    ),
    "tasks": ("bench.contract", "bench.errors", "bench.plugins.registry", "bench.files", "tasks"),
}

ADAPTERS = {
    "torch.fx": (
        "bench/graph/",
        "bench/export/",
        "bench/lean/",
        "bench/tiling/receptive_field.py",
    ),
    "torch.export": (
        "bench/graph/tracing.py",
        "bench/runtimes/",
    ),
    "torch_pruning": ("bench/surgery/remove.py", "bench/surgery/torch_pruning_importance.py"),
    "safetensors": ("bench/files/tensors.py",),
    "filelock": ("bench/files/lock.py",),
    "scipy": (
        "bench/surgery/integer_program.py",
        "tasks/data/sidd.py",
        "bench/report/statistics.py",
    ),
    "rawpy": ("tasks/data/sid.py",),
    "PIL": (
        "tasks/data/photographs.py",
        "bench/training/sample_crops.py",
        "bench/report/page_crops.py",
    ),
    "tqdm": ("tasks/data/decoded_cache.py", "bench/runner/executors/worker.py"),
    "optuna": ("methods/random_search.py",),
    "skimage": ("tasks/metrics.py", "tasks/data/embedded.py"),
    "sklearn": ("tasks/metrics.py", "tasks/data/embedded.py"),
    "pandas": ("bench/report/frame.py",),
    "pyarrow": ("bench/report/records_file.py",),
    "seaborn": ("bench/report/",),
    "matplotlib": ("bench/report/",),
    "jinja2": ("bench/report/page.py",),
    "tabulate": ("bench/report/columns.py",),
    "rich": ("bench/runner/terminal_progress.py",),
    "argcomplete": ("bench/cli/main.py",),
    "mlflow": ("bench/report/mlflow_",),
    "ray": ("bench/runner/executors/ray.py",),
    "pooch": ("bench/files/download.py",),
    "onnx": ("bench/export/onnx_file.py", "bench/runtimes/onnxsim.py"),
    "onnxruntime": ("bench/export/onnx_file.py", "bench/export/onnx_runtime.py"),
    "executorch": ("bench/runtimes/executorch.py",),
    "onnxsim": ("bench/runtimes/onnxsim.py",),
    "spandrel": ("bench/plugins/checkpoint.py",),
    "spandrel_extra_arches": ("bench/plugins/checkpoint.py",),
}

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 50


@cache
def sources() -> dict[str, tuple[Path, ast.Module]]:
    """Module name -> file below the root, syntax tree."""
    files = [
        path
        for package in (*PACKAGES, "prunebench")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files
    ]
    return {
        name: (path.relative_to(ROOT), ast.parse(path.read_text("utf-8")))
        for name, path in zip(names, files, strict=True)
    }


def imports(tree: ast.Module) -> set[str]:
    """Dotted names that a module imports anywhere; `from a import b` gives a.b."""
    found = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return found | {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@cache
def arrows() -> dict[str, set[str]]:
    """Module -> the modules of this project that it imports."""
    ours = sources().keys()
    return {
        name: {
            dotted if dotted in ours else dotted.rpartition(".")[0]
            for dotted in imports(tree)
            if inside(dotted, PACKAGES)
        }
        for name, (_, tree) in sources().items()
    }


def inside(dotted: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the prefixes or lies in one of them."""
    return any(
        dotted == prefix.rstrip(".") or dotted.startswith(prefix.rstrip(".") + ".")
        for prefix in prefixes
    )


def floor(module: str) -> int | None:
    """The number of a module's floor; None where it has none.

    A module directly in `bench` is named, a folder stands for all in it.
    """
    found = [
        (len(room), number)
        for number, rooms in enumerate(FLOORS)
        for room in rooms
        if module == room or (room != "bench" and module.startswith(room + "."))
    ]
    return max(found)[1] if found else None


def functions() -> Iterator[tuple[str, int]]:
    """(where, lines of the body without the docstring) of each function."""
    for path, tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                yield (
                    f"{path}:{node.lineno} {node.name}",
                    (node.end_lineno or 0) - body[0].lineno + 1 if body else 0,
                )


def test_every_module_of_bench_has_a_floor() -> None:
    assert [name for name in sources() if name.startswith("bench") and floor(name) is None] == []


def test_there_are_few_floors_and_few_loose_files() -> None:
    assert len(FLOORS) <= 11
    assert len(list((ROOT / "bench").glob("*.py"))) <= 9


def test_a_module_imports_no_higher_floor() -> None:
    steps = [
        (name, other)
        for name, others in arrows().items()
        for other in others
        if inside(name, ("bench",)) and inside(other, ("bench",))
    ]
    assert [
        f"{name} imports {other}"
        for name, other in steps
        if (floor(name) or 0) < (floor(other) or 0)
    ] == []


def test_bench_imports_neither_methods_nor_tasks() -> None:
    assert [
        name
        for name, others in arrows().items()
        if name.startswith("bench")
        for other in others
        if not inside(other, ("bench",))
    ] == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_methods_and_tasks_import_only_what_they_may(package: str) -> None:
    found = []
    for name, others in arrows().items():
        own = ".".join(name.split(".")[:2])  # a method is one file or one folder
        found += [
            f"{name} imports {other}"
            for other in others
            if inside(name, (package,)) and not inside(other, (*MAY_IMPORT[package], own))
        ]
    assert found == []


def test_there_are_no_import_cycles() -> None:
    left = {name: set(others) for name, others in arrows().items()}
    while free := [name for name, others in left.items() if not others & (left.keys() - {name})]:
        for name in free:
            del left[name]
    assert sorted(left) == []


@pytest.mark.parametrize("library", ADAPTERS)
def test_a_library_is_imported_by_its_adapter_alone(library: str) -> None:
    users = {
        path for path, names in outside_names().items() if any(inside(n, (library,)) for n in names)
    }
    assert sorted(user for user in users if not user.startswith(ADAPTERS[library])) == []


@cache
def outside_names() -> dict[str, set[str]]:
    """File -> what it imports or reaches by attribute."""
    return {path.as_posix(): imports(tree) | written(tree) for path, tree in sources().values()}


def written(tree: ast.Module) -> set[str]:
    """Names like torch.fx that are reached by attribute."""
    return {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def test_nothing_heavy_comes_with_the_contract() -> None:
    code = "import sys, bench.contract; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (
        set(done.stdout.split()) & (ADAPTERS.keys() - {"torch.fx", "torch.export", "tqdm"}) == set()
    )  # tqdm comes with torch


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_init_holds_a_docstring_only(package: str) -> None:
    tree = sources()[package][1]
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_every_module_says_what_lives_in_it() -> None:
    assert [str(path) for path, tree in sources().values() if not ast.get_docstring(tree)] == []


def test_no_file_is_a_catch_all() -> None:
    assert [
        str(path)
        for path, _ in sources().values()
        if path.stem in ("utils", "helpers", "misc", "common")
    ] == []


def test_imports_are_absolute() -> None:
    relative = [
        path
        for path, tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert [str(path) for path in relative] == []


def test_no_assert_guards_the_users_input() -> None:
    asserts = [
        f"{path}:{node.lineno}"
        for path, tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []


UNSAFE_READERS = {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "yaml"}
RUNS_CODE = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "yaml.load",
    "pickle.loads",
    "pickle.load",
    "os.system",
    "os.popen",
}
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


def _is_safe(call: ast.Call) -> bool:
    """Whether it is torch.load of tensors alone."""
    return any(ast.unparse(keyword) == "weights_only=True" for keyword in call.keywords)


def test_no_input_is_executed() -> None:
    found = [
        str(path)
        for path, tree in sources().values()
        if {name.partition(".")[0] for name in imports(tree)} & UNSAFE_READERS
    ]
    for path, tree in sources().values():
        found += [
            f"{path}: {call}"
            for call in {ast.unparse(node.func) for node in _calls(tree) if not _is_safe(node)}
            & RUNS_CODE
        ]
        named = [
            (keyword.arg, ast.unparse(keyword.value))
            for node in _calls(tree)
            for keyword in node.keywords
        ]
        found += [
            f"{path}: {name}"
            for name, value in named
            if (name, value) in (("allow_pickle", "True"), ("shell", "True"))
        ]
    assert found == []


def test_no_service_is_opened_to_the_network() -> None:
    found = [
        f"{path}: {name}"
        for path, tree in sources().values()
        for name in imports(tree)
        if inside(name, tuple(SERVES))
    ]
    texts = [
        (path, node.value)
        for path, tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
    ]
    assert found + [str(path) for path, text in texts if text in ("0.0.0.0", "::")] == []


def test_no_exception_is_passed_over_in_silence() -> None:
    handlers = [
        (path, node)
        for path, tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
    ]
    assert [
        f"{path}:{node.lineno}"
        for path, node in handlers
        if all(isinstance(line, ast.Pass) for line in node.body)
    ] == []


def test_files_and_functions_stay_short() -> None:
    files = {
        str(path): len((ROOT / path).read_text("utf-8").splitlines())
        for path, _ in sources().values()
    }
    assert {path: lines for path, lines in files.items() if lines > LINES_OF_A_FILE} == {}
    assert {where: lines for where, lines in functions() if lines > LINES_OF_A_FUNCTION} == {}
