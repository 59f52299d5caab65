"""What the ways to fit cost in quality, on calibration crops: test photographs choose nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from bench.contract import Shape
from bench.errors import ConfigError
from bench.fit.running import make_runner
from bench.fit.ways import Way, cast
from bench.tiling.network import InPrecision
from bench.tiling.plan import choose_overlap, least_tile
from bench.tiling.receptive_field import receptive_field
from bench.training.trainer import TaskTrainer

SEAM_PATCHES = 4  # height and width of the crop on which seams are looked at, in training patches


class Judge:
    """Scores networks on the calibration crops of a task.

    Args:
        trainer: gives the crops; it trains nothing.
    """

    def __init__(self, trainer: TaskTrainer) -> None:
        self.trainer = trainer

    @property
    def crops(self) -> Tensor:
        """Degraded calibration crops (N, C, patch, patch)."""
        return torch.cat([degraded for degraded, _ in self.trainer.calibration])

    def rate(self, networks: Mapping[float, nn.Module], ways: Sequence[Way]) -> list[Way]:
        """Return the ways that fit, and the others, with the PSNR of the former."""
        scores: dict[tuple[float, str], float] = {}
        rated = []
        for way in ways:
            if not way.obstacle:
                key = way.ratio, way.precision
                network = cast(networks[way.ratio], way.precision)
                if key not in scores:
                    scores[key] = self.trainer.psnr_db(InPrecision(network))
                way = replace(way, psnr_db=scores[key] - self.seam_db(network, way))
            rated.append(way)
        return rated

    def seam_db(self, network: nn.Module, way: Way) -> float:
        """Return what inexact tiles lose in PSNR on a crop with two tiles along each axis.

        Seams are closer there than in most images, so that it is rather more than they cost. It is
        0 where the data have no crop of that size.
        """
        if way.halo is None:
            return 0.0
        patch = SEAM_PATCHES * self.trainer.recipe.patch
        try:
            degraded, clean = self.trainer.task.calibration_pairs(self.trainer.data).sample(
                1, patch, Generator().manual_seed(0)
            )
            shape: Shape = (1, degraded.shape[1], *degraded.shape[2:])
            tiled = make_runner(
                network, replace(way, tile=_halve(network, shape, way.halo)), shape, "pytorch"
            )
        except ConfigError:
            return 0.0
        with torch.inference_mode():
            whole, pieces = (
                self.trainer.task.score(InPrecision(runner)(degraded)[0], clean[0])["psnr_db"]
                for runner in (network, tiled)
            )
        return max(0.0, whole - pieces)


def _halve(network: nn.Module, shape: Shape, halo: int) -> tuple[int, int]:
    """Return the tile (height, width) of which two cover an axis."""
    field = receptive_field(network, shape)
    rows, columns = (
        max(least_tile(axis, shared), axis.align((length + shared + 1) // 2))
        for axis, shared, length in zip(
            (field.rows, field.columns), choose_overlap(field, halo), shape[2:], strict=True
        )
    )
    return rows, columns
