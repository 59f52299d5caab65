"""Methods and tasks by name.

    @method("mosp")
    @dataclass(frozen=True)
    class Mosp(Method): ...

A name is bound by the decorator when its module is imported; `discover()` imports every module of the packages `methods` and `tasks`,
then the entry points `prunebench.methods` and `prunebench.tasks` of installed packages. The core imports none of them by name.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from bench.contract import Method, Task
from bench.errors import ConfigError, PluginError

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes of one kind by name. A name is bound once.

    Args:
        kind: the word for error messages, "method" or "task".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that binds `name`. Raises PluginError if another class has it."""

        def bind(cls: type[T]) -> type[T]:
            taken = self._classes.get(name)
            if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
                raise PluginError(
                    f"{self.kind} '{name}' of {cls.__module__} is already the name of one in {taken.__module__}; choose another"
                )
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return bind

    def names(self) -> list[str]:
        """All names, sorted."""
        discover()
        return sorted(self._classes)

    def get(self, name: str) -> type[T]:
        """The class of that name. Raises ConfigError with the nearest known name."""
        discover()
        if name not in self._classes:
            raise ConfigError(unknown(self.kind, name, self._classes))
        return self._classes[name]


METHODS: Registry[Method] = Registry("method")
TASKS: Registry[Task] = Registry("task")
method = METHODS.register
task = TASKS.register


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
        PluginError: an entry point cannot be loaded.
    """
    for package_name in ("methods", "tasks"):
        package = importlib.import_module(package_name)
        ours = Path(__file__).resolve().parent.parent / package_name
        found = Path(package.__file__ or next(iter(package.__path__))).resolve()
        if ours not in (found, *found.parents):
            raise ConfigError(
                f"'{package_name}' is taken by {found}, which shadows prunebench's own in {ours}; rename it or run from another folder"
            )
        for module in pkgutil.walk_packages(package.__path__, f"{package_name}."):
            importlib.import_module(module.name)
    for group in ("prunebench.methods", "prunebench.tasks"):
        for point in entry_points(group=group):
            try:
                point.load()
            except Exception as error:
                raise PluginError(f"the plugin '{point.name}' ({point.value}) cannot be loaded: {error!r}") from error
