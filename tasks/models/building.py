"""Construction of backbones from the options of a study, with checks of the options."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import nn

from bench.errors import ConfigError
from bench.plugins.registry import describe_unknown

MAX_OPTION = 1024  # of a width or a number of blocks
MAX_PARAMETERS = 2**29  # 2 GiB of weights; the largest published backbone here has about 0.04 GiB
Backbones = Mapping[str, Callable[..., nn.Module]]


def build(
    backbones: Backbones,
    backbone: str,
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    fixed: Mapping[str, Any],
) -> nn.Module:
    """Build a new network.

    Args:
        backbones: name -> constructor; its arguments with a default int (a positive size) or bool
            (a switch) are the options.
        backbone: one of the names.
        options: option -> value, as chosen by the user.
        defaults: option -> default, for all options of the backbone.
        fixed: arguments that the task decides (such as the channels of the images), passed to the
            constructors that have them; the user cannot set them.

    Raises:
        ConfigError: unknown backbone or option, or an invalid value.
    """
    if backbone not in backbones:
        raise ConfigError(describe_unknown("backbone", backbone, backbones))
    for name, value in options.items():
        if name not in defaults:
            raise ConfigError(describe_unknown(f"option of backbone {backbone}", name, defaults))
        _check_option(backbone, name, value, switch=isinstance(defaults[name], bool))
    construct = backbones[backbone]
    parameters = signature(construct).parameters
    arguments = {name: value for name, value in fixed.items() if name in parameters} | dict(options)
    try:
        if options:
            _check_parameters(backbone, construct, arguments)
        return construct(**arguments)
    except ValueError as error:
        raise ConfigError(f"backbone {backbone}: {error}") from error


def _check_parameters(
    backbone: str, construct: Callable[..., nn.Module], arguments: Mapping[str, Any]
) -> None:
    """Raise ConfigError if the network would have too many parameters."""
    with torch.device("meta"):  # allocates no memory
        count = sum(weight.numel() for weight in construct(**arguments).parameters())
    if count > MAX_PARAMETERS:
        raise ConfigError(
            f"backbone {backbone} would have {count:,} parameters, more than {MAX_PARAMETERS:,}; "
            "choose a smaller width or fewer blocks"
        )


def _check_option(backbone: str, name: str, value: Any, switch: bool) -> None:
    if switch and not isinstance(value, bool):
        raise ConfigError(f"option {name} of backbone {backbone} is {value!r}; give true or false")
    if not switch and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(
            f"option {name} of backbone {backbone} is {value!r}; give a positive integer"
        )
    if not switch and value > MAX_OPTION:
        raise ConfigError(
            f"option {name} of backbone {backbone} is {value}; give at most {MAX_OPTION}"
        )
