"""The runtimes by name: what each needs from the package index, and the module that adapts it.

An adapter is imported when its runtime is first used. A runtime whose name is a convention of the
memory model (`bench.contract.Convention`) plans before it runs.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from bench.errors import ConfigError, describe_unknown
from bench.runtimes.plan import Planner


@dataclass(frozen=True)
class RuntimePackage:
    """Where a runtime comes from.

    Args:
        title: as its makers write it.
        distribution: name in the package index.
        modules: that must be importable.
    """

    title: str
    distribution: str
    modules: tuple[str, ...]


ONNX = ("onnx", "onnxscript")
RUNTIMES = {
    "executorch": RuntimePackage("ExecuTorch", "executorch", ("executorch", "torchao")),
    "onnxsim": RuntimePackage("onnxsim", "onnxsim", ("onnxsim", *ONNX)),
    "mnn": RuntimePackage("MNN", "mnn", ("MNN", *ONNX)),
    "openvino": RuntimePackage("OpenVINO", "openvino", ("openvino", *ONNX)),
    "ncnn": RuntimePackage("ncnn", "ncnn", ("ncnn", "pnnx")),
    "tvm": RuntimePackage("TVM", "apache-tvm", ("tvm",)),
}
PLANNERS = ("executorch", "onnxsim")


def load_planner(name: str) -> Planner:
    """Return the planner of a runtime that is a convention.

    Raises:
        ConfigError: it is not installed.
    """
    planner: Planner = load_runtime(name).PLANNER
    return planner


def load_runtime(name: str) -> Any:
    """Return the adapter of a runtime, a module of this room.

    Raises:
        ConfigError: there is no such runtime, or it is not installed.
    """
    if name not in RUNTIMES:
        raise ConfigError(describe_unknown("runtime", name, RUNTIMES))
    if missing := _missing_modules(name):
        raise ConfigError(
            f"{RUNTIMES[name].title} needs {' and '.join(missing)}, which is not installed: "
            f"pip install 'prunebench[{name}]'"
        )
    return import_module(f"bench.runtimes.{name}")


def installed_runtimes() -> list[str]:
    """Return the names of the runtimes that are installed."""
    return [name for name in RUNTIMES if not _missing_modules(name)]


def describe_runtime(name: str) -> str:
    """Return a runtime and its version, such as "ExecuTorch 1.5.1"."""
    package = RUNTIMES[name]
    try:
        return f"{package.title} {version(package.distribution)}"
    except PackageNotFoundError:  # built from source
        return package.title


@cache
def _missing_modules(name: str) -> list[str]:
    return [module for module in RUNTIMES[name].modules if find_spec(module) is None]
