"""Which data sets each task reads from folders."""

from collections.abc import Mapping, Sequence

from tasks.data.div2k import super_resolution_folder
from tasks.data.folders import pairs_folder
from tasks.data.library import DataSet
from tasks.data.lol import LOL
from tasks.data.sid import SID
from tasks.data.sidd import SIDD


def data_sets(scale: int) -> Mapping[str, Sequence[DataSet]]:
    """Task -> its data sets; the first that a folder looks like is taken.

    Args:
        scale: of super-resolution.
    """
    return {
        "denoising": (pairs_folder("noisy", "clean"), SIDD),
        "low_light": (pairs_folder("low", "high"), LOL, SID),
        "super_resolution": (super_resolution_folder(scale),),
    }
