"""Backbones from the options of a study: what may be set, and to what."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import nn

from bench.errors import ConfigError
from bench.plugins.registry import unknown

LARGEST_OPTION = 1024  # a width, a number of blocks
MOST_PARAMETERS = (
    2**29
)  # 2 GiB of weights; the largest published backbone here has about 0.04 of a GiB
Backbones = Mapping[str, Callable[..., nn.Module]]


def build(
    backbones: Backbones,
    backbone: str,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    decided: Mapping[str, Any],
) -> nn.Module:
    """A new network.

    Args:
        backbones: name -> constructor; its arguments with a default int (a positive size) or bool
            (a switch) are the options.
        backbone: one of the names.
        options: what the user chose.
        defaults: the options that there are, with their defaults.
        decided: what the task decides (channels of the images), for the constructors that ask for
            it: no options.

    Raises:
        ConfigError: unknown backbone or option, or a value that is none for it.
    """
    if backbone not in backbones:
        raise ConfigError(unknown("backbone", backbone, backbones))
    for name, value in options.items():
        if name not in defaults:
            raise ConfigError(unknown(f"option of backbone {backbone}", name, defaults))
        _check(backbone, name, value, switch=isinstance(defaults[name], bool))
    asked = signature(backbones[backbone]).parameters
    arguments = {name: value for name, value in decided.items() if name in asked} | dict(options)
    try:
        with torch.device("meta"):  # no memory for weights
            count = (
                sum(weight.numel() for weight in backbones[backbone](**arguments).parameters())
                if options
                else 0
            )
        if count > MOST_PARAMETERS:
            raise ConfigError(
                f"backbone {backbone} would have {count:,} parameters, more than {MOST_PARAMETERS:,}; choose it smaller"
            )
        return backbones[backbone](**arguments)
    except ValueError as error:
        raise ConfigError(f"backbone {backbone}: {error}") from error


def _check(backbone: str, name: str, value: Any, switch: bool) -> None:
    if switch and not isinstance(value, bool):
        raise ConfigError(f"option {name} of backbone {backbone} is {value!r}; give true or false")
    if not switch and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(
            f"option {name} of backbone {backbone} is {value!r}; give a positive integer"
        )
    if not switch and value > LARGEST_OPTION:
        raise ConfigError(
            f"option {name} of backbone {backbone} is {value}; give at most {LARGEST_OPTION}"
        )
