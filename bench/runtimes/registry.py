"""The runtimes by name: what each needs from the package index, and the module that adapts it.

An adapter is imported when its runtime is first used. A runtime whose name is a convention of the
memory model (`bench.contract.Convention`) plans before it runs.
"""

import platform
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from bench.errors import ConfigError, describe_unknown
from bench.runtimes.runtime import Planner, Runtime


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
    "executorch": RuntimePackage("ExecuTorch", "executorch", ("executorch", "torchao", "ruamel")),
    "onnxsim": RuntimePackage("onnxsim", "onnxsim", ("onnxsim", *ONNX)),
    "mnn": RuntimePackage("MNN", "mnn", ("MNN", *ONNX)),
    "iree": RuntimePackage("IREE", "iree-base-compiler", ("iree", *ONNX)),
    "ncnn": RuntimePackage("ncnn", "ncnn", ("ncnn", "pnnx")),
    "openvino": RuntimePackage("OpenVINO", "openvino", ("openvino", *ONNX)),
    "tvm": RuntimePackage("TVM", "apache-tvm", ("tvm",)),
}
PLANNERS = ("executorch", "onnxsim")  # those that are conventions


def load_runtime(name: str) -> Runtime:
    """Return a runtime.

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
    runtime: Runtime = import_module(f"bench.runtimes.{name}").RUNTIME
    return runtime


def load_planner(name: str) -> Planner:
    """Return a runtime that is a convention. Raises ConfigError if it is not installed."""
    runtime = load_runtime(name)
    if not isinstance(runtime, Planner):
        raise ConfigError(
            f"{RUNTIMES[name].title} does not plan a network that it does not run, so it is no "
            f"convention; take one of {', '.join(PLANNERS)}"
        )
    return runtime


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


def describe_protocol_of(name: str) -> str:
    """Return a runtime, its version, the machine, and how its peak is found.

    Raises:
        ConfigError: as `load_runtime`.
    """
    import torch

    protocol = load_runtime(name).protocol
    threads = torch.get_num_threads()
    return (
        f"cpu {platform.machine()} with {threads} thread{'s' * (threads > 1)}, float32, "
        f"{describe_runtime(name)}: {protocol}"
    )


@cache
def _missing_modules(name: str) -> list[str]:
    return [module for module in RUNTIMES[name].modules if find_spec(module) is None]
