"""Save what was chosen to fit, with how it must be run."""

from dataclasses import asdict
from pathlib import Path

from torch import nn

from bench.errors import ConfigError
from bench.export import saved
from bench.files import checked_json
from bench.fit.search import Fit
from bench.fit.ways import WHOLE, Way
from bench.tiling.plan import single_shape

HOW = "fit.json"


def save(found: Fit, folder: str | Path) -> None:
    """Write the network as `bench.export.saved.load` reads it, and fit.json: how to run it.

    Raises ConfigError if nothing was chosen, or a part of the network cannot be written.
    """
    way, network = _chosen(found)
    saved.save_graph(folder, network)
    how = {"shape": found.budget.input_shape, "executor": found.executor, "way": asdict(way)}
    checked_json.write(Path(folder) / HOW, how)


def describe_run(found: Fit, folder: str | Path) -> str:
    """Return the lines of Python that run what is saved in a folder."""
    way, _ = _chosen(found)
    shape = single_shape(found.budget.input_shape)
    is_lean, is_whole = found.executor == "lean", way.name == WHOLE
    tile = way.tile or shape[2:]
    lines = ["import torch", "from prunebench import TiledNetwork, load, plan_tiles"]
    if is_whole:
        lines[1] = "from prunebench import load"
    if is_lean:
        lines.insert(1, "from bench.lean.pipeline import make_lean")
    lines += ["", f"network = load({str(folder)!r})"]
    if not is_whole:
        lines.append(f"plan = plan_tiles(network, {shape}, {tile}, halo={way.halo})")
    if is_lean:
        lines.append(f"network = make_lean(network, {(*shape[:2], *tile)})")
    if not is_whole:
        lines.append("network = TiledNetwork(network, plan)")
    lines += [
        "with torch.inference_mode():",
        f"    restored = network(image)  # {shape}, torch.{way.precision}",
    ]
    return "\n".join(lines)


def _chosen(found: Fit) -> tuple[Way, nn.Module]:
    if found.chosen is None or found.network is None:
        raise ConfigError("nothing was chosen, because no data were given; give data")
    return found.chosen, found.network
