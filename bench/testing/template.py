"""What `prunebench new` writes: a method that works and its test, or the copy of a study."""

import importlib.util
import keyword
import re
from pathlib import Path

from bench.errors import ConfigError
from bench.files import atomic
from bench.plugins.registry import METHODS, ROOT
from bench.study.packaged import packaged_studies, study_path

METHOD = '''\
"""{title}: say what it does. Try it with `prunebench check {name}.py`.

    loss + strength sum_c ||W_c||      W_c: the weights that make output channel c of a convolution

Replace this header, and all that a comment tells you to replace.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from prunebench import (
    NO_TRAINER,
    Budget,
    Method,
    Pruned,
    Recipe,
    TraceStep,
    Trainer,
    analyse_network,
    channel_norms,
    global_ranking_widths,
    method,
    remove_channels,
)
from torch import Tensor, nn


@method("{name}")
@dataclass(frozen=True)
class {title}(Method):
    """The fields are the options of the method: replace them. Each needs a type and a default."""

    paper: ClassVar[str] = "Author, Title, Venue Year"  # replace
    strength: float = 1e-3
    epochs: int = 2

    def expected_steps(self, recipe: Recipe) -> int:
        """Return the training steps for one budget, fine-tuning by the harness included."""
        return recipe.matched_steps or self.epochs * recipe.steps_per_epoch + recipe.finetune_steps

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Train with the penalty, then remove the channels with the smallest norms.

        Raises:
            Infeasible: even the smallest widths do not fit the budget.
        """
        network = deepcopy(model).to(trainer.device)  # the model that is passed in must not change
        analysis = analyse_network(network, budget)  # the units, and the memory of their channels
        min_width = trainer.recipe.min_width
        analysis.peak_model.check(budget, min_width)

        # Replace the training.
        steps = self.epochs * trainer.recipe.steps_per_epoch
        trainer.fit(network, steps, phase="search", penalty=self._penalty, callback_state={{}})

        # Replace the scores: unit -> one score per channel, (C,); the lowest are removed first.
        scores = channel_norms(network, analysis.layout)

        # Replace the choice of widths if your method makes it.
        widths = global_ranking_widths(scores, analysis, budget, min_width)

        kept = analysis.select_kept(scores, widths)
        pruned = remove_channels(network.eval(), kept, budget.input_shape, analysis.layout)
        trace = (TraceStep(analysis.peak_model.peak_bytes(widths), widths, "cut"),)
        return Pruned(pruned, kept=kept, trace=trace)

    def _penalty(self, network: nn.Module) -> Tensor:
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        return self.strength * sum(layer.weight.flatten(1).norm(dim=1).sum() for layer in layers)
'''

TEST = '''\
"""The promises of a method, checked for {name}: run this file with pytest."""

from prunebench import MethodContract

from {module} import {title}


class Test{title}(MethodContract):
    """One test for each promise."""

    method = {title}
'''


def write_template(name: str, folder: Path) -> tuple[Path, Path]:
    """Write NAME.py, a method that keeps the contract as it is, and test_NAME.py.

    Args:
        name: name of the method and of its module.
        folder: folder of the files; it is created if it does not exist.

    Returns:
        The paths of the two files.

    Raises:
        ConfigError: the name is no module name or is taken, or a file exists or cannot be written.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"a method cannot be called '{name}'; use lower-case letters, digits and underscores, "
            "starting with a letter, and no Python keyword"
        )
    if name in METHODS.names():
        raise ConfigError(
            f"there is a method '{name}' already; choose another name, "
            "`prunebench list methods` shows all"
        )
    # Discovery imports every module of our `methods`, so a test there would count as a plugin.
    is_ours = folder.resolve() == ROOT / "methods"
    test_folder = ROOT / "tests" / "methods" if is_ours else folder
    module = f"methods.{name}" if is_ours else name
    paths = folder / f"{name}.py", test_folder / f"test_{name}.py"
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} exists already; choose another name or folder")
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(
            f"'{name}' is a module already, and {paths[0]} would hide it; choose another name"
        )
    # The suffix keeps the class apart from the names that the file imports.
    title = name.title().replace("_", "").removesuffix("Method") + "Method"
    title = "OwnMethod" if title == "Method" else title
    for path, text in zip(paths, (METHOD, TEST), strict=True):
        _write(path, text.format(name=name, module=module, title=title))
    return paths


def write_study_copy(source: str, name: str | None, folder: Path) -> Path:
    """Write NAME.toml, a copy of a study that can be edited, and return its path.

    Args:
        source: name of a packaged study, or path of a .toml file.
        name: of the copy; by default "my_" and the name of the study.
        folder: folder of the file; it is created if it does not exist.

    Raises:
        ConfigError: there is no such study; the name is that of a packaged study, whose results
            are in the folder of that name; the file exists or cannot be written.
    """
    original = study_path(source)
    name = (name or f"my_{original.stem}").removesuffix(".toml")
    if name in packaged_studies() or Path(name).name != name:
        raise ConfigError(
            f"a copy of {original.stem} cannot be called '{name}'; choose a name without a folder "
            "that no packaged study has, and give the folder by --out"
        )
    path = folder / f"{name}.toml"
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name or folder")
    _write(path, original.read_text(encoding="utf-8"))
    return path


def _write(path: Path, text: str) -> None:
    try:
        atomic.write(path, text.encode())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; choose another folder"
        ) from error
