"""Where a number was computed: threads, device, versions."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch


def surroundings(device: str) -> dict[str, Any]:
    """As a record keeps them.

    Args:
        device: on which networks are trained.
    """
    return {
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else f"{device} {platform.machine()}",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {
            name: version_of(name)
            for name in ("prunebench", "torch", "torch-pruning", "scikit-image", "numpy")
        },
    }


def version_of(name: str) -> str | None:
    """Of a distribution, as it is installed; None if it is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
