"""The beginning of a new method: a file that works and trains, and a test of everything that a method promises."""

import importlib.util
import keyword
import re
from pathlib import Path

from bench.errors import ConfigError
from bench.files import atomic
from bench.plugins.registry import METHODS

METHOD = '''\
"""{title}: say what it does. Try it with `prunebench check {name}.py`.

    loss + strength sum_c ||W_c||      W_c: the weights that make output channel c of a convolution

Replace this header, and every line that says so.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from prunebench import NO_TRAINER, Budget, Method, Pruned, Recipe, TraceStep, Trainer, method
from prunebench import analyze_network, channel_norms, global_ranking_widths, remove_channels


@method("{name}")
@dataclass(frozen=True)
class {title}(Method):
    """The fields are the options. Replace them by your own; each needs a type and a default."""

    paper: ClassVar[str] = "Author, Title, Venue Year"  # replace
    strength: float = 1e-3
    epochs: int = 2

    def expected_steps(self, recipe: Recipe) -> int:
        """Training steps for one budget, the harness's fine-tuning included: for forecasts of time."""
        return recipe.matched_steps or self.epochs * recipe.steps_per_epoch + recipe.finetune_steps

    def prune(self, model: nn.Module, budget: Budget, trainer: Trainer = NO_TRAINER) -> Pruned:
        """Trains with the penalty, then removes the channels with the smallest norms. Raises Infeasible if the least widths do not fit."""
        network = deepcopy(model).to(trainer.device)  # the one that was passed in stays as it is
        body, least = analyze_network(network, budget), trainer.recipe.min_width  # its units, and what their channels cost
        body.peaks.check(budget, least)
        steps = self.epochs * trainer.recipe.steps_per_epoch
        trainer.fit(network, steps, phase="search", penalty=self._penalty, callback_state={{}})  # replace: the training
        scores = channel_norms(network, body.layout)  # replace: unit -> one score a channel, (C,); the lowest go first
        widths = global_ranking_widths(scores, body, budget, least)  # replace, if your method chooses the widths itself
        kept = body.keep(scores, widths)
        diary = (TraceStep(body.peaks.peak_bytes(widths), widths, "cut"),)
        return Pruned(remove_channels(network.eval(), kept, budget.input_shape, body.layout), kept=kept, trace=diary)

    def _penalty(self, network: nn.Module) -> Tensor:
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        return self.strength * sum(layer.weight.flatten(1).norm(dim=1).sum() for layer in layers)
'''

TEST = '''\
"""Everything that a method promises, for {name}: run it with pytest."""

from prunebench import MethodContract

from {name} import {title}


class Test{title}(MethodContract):
    method = {title}
'''


def write_new(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes NAME.py, a method that keeps the contract as it stands, and test_NAME.py.

    Args:
        name: of the method and of its module.
        folder: is made if it is not there.

    Raises:
        ConfigError: the name cannot be that of a module, is taken, or a file is there or cannot be
            written.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(
            f"a method cannot be called '{name}'; take small letters, digits and underscores, a letter first, no word of Python"
        )
    if name in METHODS.names():
        raise ConfigError(
            f"there is a method '{name}' already; choose another name, `prunebench list methods` shows all"
        )
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} is there already; choose another name or folder")
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(
            f"'{name}' is a module already, and {paths[0]} would hide it; choose another name"
        )
    title = f"{name.title().replace('_', '')}Method"  # so that it is none of the names that its file imports
    for path, text in zip(paths, (METHOD, TEST), strict=True):
        try:
            atomic.write(path, text.format(name=name, title=title).encode())
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror}; choose another folder"
            ) from error
    return paths
