"""The environment in which a number was computed: threads, device, versions."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("prunebench", "torch", "torch-pruning", "scikit-image", "numpy")


def describe_environment(device: str) -> dict[str, Any]:
    """Return the environment as it is stored in a record.

    Args:
        device: where networks are trained.
    """
    if device.startswith("cuda"):
        device_name = torch.cuda.get_device_name(device)
    else:
        device_name = f"{device} {platform.machine()}"
    return {
        "threads": torch.get_num_threads(),
        "device": device_name,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: installed_version(name) for name in PACKAGES},
    }


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
