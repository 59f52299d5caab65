"""Register methods, tasks and backbones by name, and load the plugins that do so.

    @method("mosp")
    @dataclass(frozen=True)
    class MOSP(Method): ...

The decorator registers the name when its module is imported. `discover()` imports every module of
the packages `methods` and `tasks`, then the entry points of installed packages in the groups
`prunebench.methods`, `prunebench.tasks` and `prunebench.backbones`. `load_plugin` runs a file. The
core imports no method or task by name. A plugin that cannot be loaded is reported on stderr and
skipped; the others are still loaded.
"""

import importlib
import multiprocessing
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from torch import nn

from bench.contract import Method, Task
from bench.errors import BenchError, ConfigError, PluginError, describe_unknown, match_name
from bench.files.log import LOG
from bench.plugins.global_state import preserve_global_state
from bench.plugins.interface import find_backbone_faults, find_method_faults, find_task_faults
from bench.plugins.user_file import PYTHON_SUFFIX, describe_error, importable_from, run_file

T = TypeVar("T")
MethodClass = TypeVar("MethodClass", bound=type[Method])
TaskClass = TypeVar("TaskClass", bound=type[Task])
Builder = TypeVar("Builder", bound=Callable[..., nn.Module])
KINDS = ("method", "task", "backbone")
PACKAGES = ("methods", "tasks")
ROOT = Path(__file__).resolve().parents[2]  # the folder that holds our packages
NOWHERE = Path(__file__) / "nowhere"  # no file is in it: errors of entry points name no line
BROKEN: dict[str, str] = {}  # origin of a plugin -> why it could not be loaded
_PLUGINS: list[Path] = []  # files given to load_plugin, in that order
_origin: ContextVar[str] = ContextVar("origin", default="")  # of the plugin that is being loaded


class Registry(Generic[T]):
    """All objects of one kind, by name.

    Args:
        kind: "method", "task" or "backbone", for messages.
        find_faults: yields a sentence for each reason why an object cannot be registered.
    """

    def __init__(
        self, kind: str, find_faults: Callable[[Any], Iterable[str]] = lambda candidate: ()
    ) -> None:
        self.kind = kind
        self._find_faults = find_faults
        self._known: dict[str, T] = {}
        self._origins: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a class or function under a name.

        Raises:
            PluginError: another object has this name, or the object has a wrong interface.
        """

        def bind(target: T) -> T:
            present: Any = self._known.get(name)
            candidate: Any = target
            origin = _origin.get() or candidate.__module__
            # A class can call itself as another one of another file is called.
            if present is not None and (_qualified_name(present), self._origins[name]) != (
                _qualified_name(candidate),
                origin,
            ):
                raise PluginError(
                    f"{self.kind} '{name}' exists already, in {self._origins[name]}; "
                    "choose another name"
                )
            if isinstance(target, type) and target.__module__ != "builtins":
                candidate.name = name
            for fault in self._find_faults(target):
                raise PluginError(f"{self.kind} '{name}': {fault}")
            self._known[name] = target
            self._origins[name] = origin
            return target

        return bind

    def names(self) -> list[str]:
        """Return all names, sorted, after discovery."""
        discover()
        return sorted(self._known)

    def find(self, name: str) -> str:
        """Return a name as it was registered, after discovery; upper and lower case are one.

        Raises:
            ConfigError: no object has this name; the message has the nearest known name and the
                plugins that could not be loaded.
        """
        discover()
        found = match_name(name, self._known)
        if found not in self._known:
            broken = "".join(f"; not loaded: {origin}" for origin in BROKEN)
            raise ConfigError(describe_unknown(self.kind, name, self._known) + broken)
        return found

    def get(self, name: str) -> T:
        """Return the object with a name; see `find`. Raises ConfigError."""
        return self._known[self.find(name)]

    def items(self) -> list[tuple[str, T]]:
        """Return (name, object) of everything registered so far."""
        return list(self._known.items())

    def __contains__(self, name: str) -> bool:
        """Return whether a name has been registered so far."""
        return name in self._known

    def origin(self, name: str) -> str:
        """Return where an object comes from: a module of ours, an installed package, or a file."""
        return self._origins[name]

    def names_from(self, origin: str) -> list[str]:
        """Return the names that an origin registered, sorted."""
        return sorted(name for name, where in self._origins.items() if where == origin)

    def registers(self, loaded: object) -> bool:
        """Return whether an object, or anything defined in a module, is registered."""
        module = loaded.__name__ if isinstance(loaded, ModuleType) else None
        return any(known is loaded or known.__module__ == module for known in self._known.values())

    def forget(self, origin: str) -> None:
        """Remove all names that an origin registered."""
        for name in self.names_from(origin):
            del self._known[name], self._origins[name]


METHODS: Registry[type[Method]] = Registry("method", find_method_faults)
TASKS: Registry[type[Task]] = Registry("task", find_task_faults)
# Backbones of plugins, for every task; a task has its own besides.
BACKBONES: Registry[Callable[..., nn.Module]] = Registry("backbone", find_backbone_faults)
REGISTRIES: tuple[Registry[Any], ...] = (METHODS, TASKS, BACKBONES)


def method(name: str) -> Callable[[MethodClass], MethodClass]:
    """Register the decorated class, a frozen dataclass derived from `Method`, as the method `name`.

    Raises:
        PluginError: the name is taken, or the class breaks the contract.
    """
    return METHODS.register(name)  # type: ignore[return-value]


def task(name: str) -> Callable[[TaskClass], TaskClass]:
    """Register the decorated class, a frozen dataclass derived from `Task`, as the task `name`.

    Raises:
        PluginError: the name is taken, or the class breaks the contract.
    """
    return TASKS.register(name)  # type: ignore[return-value]


def backbone(name: str) -> Callable[[Builder], Builder]:
    """Register the decorated function or class, which builds a network, as the backbone `name`.

    It is available for every task; its parameters are its options.

    Raises:
        PluginError: the name is taken, or the object cannot build a `torch.nn.Module`.
    """
    return BACKBONES.register(name)  # type: ignore[return-value]


def _qualified_name(target: Any) -> tuple[str, str]:
    return target.__module__, target.__qualname__


@cache
def discover() -> None:
    """Import every module of `methods` and `tasks`, and the entry points, once.

    Raises:
        ConfigError: a package of the user hides our `methods` or `tasks`.
    """
    for package_name in PACKAGES:
        package = importlib.import_module(package_name)
        ours = ROOT / package_name
        imported = Path(package.__file__ or next(iter(package.__path__))).resolve()
        if ours not in (imported, *imported.parents):
            raise ConfigError(
                f"'{package_name}' is taken by {imported}, which shadows prunebench's own in "
                f"{ours}; rename it or run from another folder"
            )
        for module in pkgutil.walk_packages(
            package.__path__, f"{package_name}.", onerror=lambda name: None
        ):
            with _record_origin(module.name, ours):
                importlib.import_module(module.name)
    for kind in KINDS:
        for point in entry_points(group=f"prunebench.{kind}s"):
            with _record_origin(_describe_entry_point(point)), _keep_process():
                _check_registrations(point.load())


def load_plugin(path: str | Path) -> str:
    """Run a file that registers something, once; return the origin of its names.

    If the file cannot be run, BROKEN says why.

    Raises:
        ConfigError: there is no such file.
    """
    discover()
    file = Path(path).resolve()
    if file.suffix != PYTHON_SUFFIX or not file.is_file():
        raise ConfigError(f"there is no Python file {path} to load as a plugin")
    if discovered := _discovered_name(file):
        return discovered
    if file not in _PLUGINS:
        _PLUGINS.append(file)
        with (
            _record_origin(str(file), file.parent),
            _keep_process(),
            importable_from(file.parent),
        ):
            _check_registrations(run_file(file, "it"))
    return str(file)


def _discovered_name(file: Path) -> str:
    """Return the module name of a file in our `methods` or `tasks`; "" for any other file."""
    if not any(file.is_relative_to(ROOT / package) for package in PACKAGES):
        return ""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def plugin_files() -> tuple[Path, ...]:
    """Return the files that were loaded as plugins; worker processes must load them too."""
    return tuple(_PLUGINS)


@contextmanager
def _record_origin(origin: str, folder: Path | None = None) -> Iterator[None]:
    """Record `origin` as the origin of everything that the block registers.

    If the block raises, remove what it registered, note the reason in BROKEN and warn.

    Args:
        origin: a module, an installed package or a file.
        folder: the folder of its files, to name the line of an error.
    """
    token = _origin.set(origin)
    try:
        yield
    except BenchError as error:
        BROKEN[origin] = str(error)
    except (Exception, SystemExit) as error:
        BROKEN[origin] = describe_error("it", error, (folder or NOWHERE) / "plugin")
    finally:
        _origin.reset(token)
    if origin in BROKEN:
        for registry in REGISTRIES:
            registry.forget(origin)
        if multiprocessing.parent_process() is None:  # workers would repeat it
            LOG.warning("prunebench: the plugin %s is left out: %s", origin, BROKEN[origin])


@contextmanager
def _keep_process() -> Iterator[None]:
    """Put back what the code of a plugin changes in the process when it is loaded.

    Raises PluginError if that is code of prunebench or torch: all rows would be judged by it.
    """
    with preserve_global_state() as state:
        yield
        if replaced := state.find_replaced_code():
            raise PluginError(
                f"it replaces {replaced}, by which all rows are judged; leave it as it is"
            )


def _check_registrations(loaded: object) -> None:
    """Raise PluginError if a plugin registers nothing, or takes the name of a task's backbone."""
    for task_name, cls in sorted(TASKS.items()):
        for name in cls.backbones:
            if name in BACKBONES:
                raise PluginError(
                    f"backbone '{name}' exists already, in task {task_name}; choose another name"
                )
    if not any(registry.registers(loaded) for registry in REGISTRIES):
        decorators = ", ".join(f'@{kind}("NAME")' for kind in KINDS)
        raise PluginError(f"it registers nothing; use one of {decorators} from prunebench")


def _describe_entry_point(point: EntryPoint) -> str:
    """Return the package of an entry point with its version, and what it points to."""
    package = f"{point.dist.name} {point.dist.version}, " if point.dist else ""
    return f"{package}{point.value}"
