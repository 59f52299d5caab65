"""Registry of the data sets that each task reads from folders."""

from collections.abc import Mapping, Sequence

from tasks.data.clean import clean_folder
from tasks.data.dataset import DataSet
from tasks.data.div2k import super_resolution_folder
from tasks.data.folders import pairs_folder, pairs_to_test_folder
from tasks.data.lol import LOL
from tasks.data.sid import SID
from tasks.data.sidd import SIDD


def data_sets_by_task(scale: int) -> Mapping[str, Sequence[DataSet]]:
    """Return task -> its data sets; the first one whose layout a folder has is used.

    Args:
        scale: scale of super-resolution.
    """
    return {
        "denoising": (
            pairs_folder("noisy", "clean"),
            pairs_to_test_folder("noisy", "clean"),
            SIDD,
            clean_folder(),
        ),
        "low_light": (
            pairs_folder("low", "high"),
            pairs_to_test_folder("low", "high"),
            LOL,
            SID,
            clean_folder(),
        ),
        "super_resolution": (super_resolution_folder(scale), clean_folder(scale)),
    }
