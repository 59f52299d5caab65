"""Methods, tasks and backbones by name, and the plugins that bring them.

    @method("mosp")
    @dataclass(frozen=True)
    class Mosp(Method): ...

A name is bound by the decorator when its module is imported. `discover()` imports every module of
the packages `methods` and `tasks`, then what installed packages offer in the entry-point groups
`prunebench.methods`, `prunebench.tasks` and `prunebench.backbones`; `load_plugin` adds a file. The
core imports none of them by name. A plugin that cannot be loaded is named on stderr, and the others
go on.
"""

import difflib
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
from bench.errors import BenchError, ConfigError, PluginError
from bench.files.log import LOG
from bench.plugins.interface import faults_of_backbone, faults_of_method, faults_of_task
from bench.plugins.user_file import ENDING, beside, mistake, run_file

T = TypeVar("T")
KINDS = ("method", "task", "backbone")
PACKAGES = ("methods", "tasks")
NOWHERE = Path(__file__) / "nowhere"  # of an entry point the place in its code is not told
BROKEN: dict[str, str] = {}  # where a plugin is -> why it could not be loaded
_PLUGINS: list[Path] = []  # files that were asked for, in that order
_origin: ContextVar[str] = ContextVar("origin", default="")  # of what is being loaded


class Registry(Generic[T]):
    """What there is of one kind, by name. A name is bound once.

    Args:
        kind: the word for error messages, "method", "task" or "backbone".
        faults: what is wrong with something that wants to be registered, in words.
    """

    def __init__(self, kind: str, faults: Callable[[Any], Iterable[str]] = lambda one: ()) -> None:
        self.kind = kind
        self._faults = faults
        self._known: dict[str, T] = {}
        self._origins: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that binds `name`.

        Raises PluginError if something else has it, or if it cannot be what it says.
        """

        def bind(one: T) -> T:
            taken: Any = self._known.get(name)
            here: Any = one
            if taken is not None and (taken.__module__, taken.__qualname__) != (
                here.__module__,
                here.__qualname__,
            ):
                raise PluginError(
                    f"{self.kind} '{name}' is already the name of one in {self._origins[name]}; choose another"
                )
            if isinstance(one, type) and one.__module__ != "builtins":
                here.name = name
            for fault in self._faults(one):
                raise PluginError(f"{self.kind} '{name}': {fault}")
            self._known[name] = one
            self._origins[name] = _origin.get() or here.__module__
            return one

        return bind

    def names(self) -> list[str]:
        """All names, sorted."""
        discover()
        return sorted(self._known)

    def get(self, name: str) -> T:
        """What has that name.

        Raises ConfigError with the nearest known name, and with what could not be loaded.
        """
        discover()
        if name not in self._known:
            broken = "".join(f"; not loaded: {origin}" for origin in BROKEN)
            raise ConfigError(unknown(self.kind, name, self._known) + broken)
        return self._known[name]

    def items(self) -> list[tuple[str, T]]:
        """What has been registered so far."""
        return list(self._known.items())

    def __contains__(self, name: str) -> bool:
        """Whether that has been registered so far."""
        return name in self._known

    def origin(self, name: str) -> str:
        """Where it comes from: a module of ours, an installed package, or a file."""
        return self._origins[name]

    def named_in(self, origin: str) -> list[str]:
        """The names that come from there."""
        return sorted(name for name, where in self._origins.items() if where == origin)

    def has(self, loaded: object) -> bool:
        """Whether that object, or something of that module, has a name here."""
        home = loaded.__name__ if isinstance(loaded, ModuleType) else None
        return any(one is loaded or one.__module__ == home for one in self._known.values())

    def forget(self, origin: str) -> None:
        """Takes away all names that come from there."""
        for name in self.named_in(origin):
            del self._known[name], self._origins[name]


METHODS: Registry[type[Method]] = Registry("method", faults_of_method)
TASKS: Registry[type[Task]] = Registry("task", faults_of_task)
BACKBONES: Registry[Callable[..., nn.Module]] = Registry(
    "backbone", faults_of_backbone
)  # for every task; a task has its own besides
ALL: tuple[Registry[Any], ...] = (METHODS, TASKS, BACKBONES)
method = METHODS.register
task = TASKS.register
backbone = BACKBONES.register


def unknown(kind: str, asked: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not known: what was asked, the nearest known, all known."""
    names = sorted(known)
    near = difflib.get_close_matches(asked, names, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return f"unknown {kind} '{asked}'; {guess}known: {', '.join(names) or 'none'}"


@cache
def discover() -> None:
    """Imports every module of `methods` and `tasks`, and the entry points, once.

    Raises:
        ConfigError: another package of the user's shadows `methods` or `tasks`.
    """
    for package_name in PACKAGES:
        package = importlib.import_module(package_name)
        ours = Path(__file__).resolve().parents[2] / package_name
        found = Path(package.__file__ or next(iter(package.__path__))).resolve()
        if ours not in (found, *found.parents):
            raise ConfigError(
                f"'{package_name}' is taken by {found}, which shadows prunebench's own in {ours}; rename it or run from another folder"
            )
        for module in pkgutil.walk_packages(
            package.__path__, f"{package_name}.", onerror=lambda name: None
        ):
            with _loading(module.name, ours):
                importlib.import_module(module.name)
    for point in (point for kind in KINDS for point in entry_points(group=f"prunebench.{kind}s")):
        with _loading(_home(point)):
            _check_named(point.load())


def load_plugin(path: str | Path) -> str:
    """Runs a file that registers something, once; returns where its names are from.

    A file that cannot be run is named in BROKEN.

    Raises:
        ConfigError: there is no such file.
    """
    discover()
    file = Path(path).resolve()
    if file.suffix != ENDING or not file.is_file():
        raise ConfigError(f"there is no Python file {path} to load as a plugin")
    if file not in _PLUGINS:
        _PLUGINS.append(file)
        with _loading(str(file), file.parent), beside(file.parent):
            _check_named(run_file(file, "it"))
    return str(file)


def plugin_files() -> tuple[Path, ...]:
    """The files that were loaded as plugins: another process must load them too."""
    return tuple(_PLUGINS)


@contextmanager
def _loading(origin: str, folder: Path | None = None) -> Iterator[None]:
    """What is registered inside comes from there; if it raises, nothing does, and the reason is kept and told."""
    token = _origin.set(origin)
    try:
        yield
    except BenchError as error:
        BROKEN[origin] = str(error)
    except (Exception, SystemExit) as error:
        BROKEN[origin] = mistake("it", error, (folder or NOWHERE) / "plugin")
    finally:
        _origin.reset(token)
    if origin in BROKEN:
        for registry in ALL:
            registry.forget(origin)
        if multiprocessing.parent_process() is None:  # workers would say it again
            LOG.warning("prunebench: the plugin %s is left out: %s", origin, BROKEN[origin])


def _check_named(loaded: object) -> None:
    """Raises PluginError if a plugin registered nothing, or a backbone with the name of a task's."""
    for task_name, cls in TASKS.items():
        for name in (name for name in cls.backbones if name in BACKBONES):
            raise PluginError(
                f"backbone '{name}' is already the name of one of task {task_name}; choose another"
            )
    if not any(registry.has(loaded) for registry in ALL):
        decorators = ", ".join(f'@{kind}("NAME")' for kind in KINDS)
        raise PluginError(
            f"it registers nothing; use one of {decorators} from bench.plugins.registry"
        )


def _home(point: EntryPoint) -> str:
    """Where an entry point is: its package and version, and what it points to."""
    package = f"{point.dist.name} {point.dist.version}, " if point.dist else ""
    return f"{package}{point.value}"
