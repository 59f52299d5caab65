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
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{device} {platform.machine()}",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in ("prunebench", "torch", "torch-pruning", "scikit-image", "numpy")},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
