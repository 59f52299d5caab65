"""The layout of a user's own real pairs of equal size: one folder for each side of each split.

    DATA/train/noisy/NAME   DATA/train/clean/NAME      for training
    DATA/val/noisy/NAME     DATA/val/clean/NAME        for testing, of any size from 11 x 11
    DATA/test/noisy/NAME    DATA/test/clean/NAME       alone, for testing; the embedded images are
                                                       trained on

The two files of a pair have the same name and the same size. Formats are PNG, JPEG, TIFF, WebP and
more: `tasks.data.photographs` lists them, and describes how grey images, palettes, transparency and
16 bits are read. The sides are called noisy and clean in denoising, low and high in low light.
"""

from pathlib import Path

from tasks.data.dataset import DataSet, Splits, list_pairs

SPLITS = ("train", "val")
ALONE = "test"


def pairs_folder(degraded: str, clean: str) -> DataSet:
    """Return the layout whose sides have these names."""
    layout = (
        f"train/{degraded}, train/{clean}, val/{degraded} and val/{clean}, "
        f"with the same file names in {degraded} and {clean}"
    )

    def find_splits(root: Path) -> Splits:
        train, val = (
            list_pairs(root / split / degraded, root / split / clean, layout) for split in SPLITS
        )
        return Splits(train, {"val": val})

    return DataSet(
        name=f"your own pairs, {degraded} and {clean}",
        layout=layout,
        source="not a published data set",
        markers=tuple(f"{split}/{side}" for split in SPLITS for side in (degraded, clean)),
        find_splits=find_splits,
    )


def pairs_to_test_folder(degraded: str, clean: str) -> DataSet:
    """Return the layout of pairs to test on alone, whose sides have these names."""
    layout = f"test/{degraded} and test/{clean} alone, with the same file names in both"

    def find_splits(root: Path) -> Splits:
        return Splits(
            (), {ALONE: list_pairs(root / ALONE / degraded, root / ALONE / clean, layout)}
        )

    return DataSet(
        name=f"your own pairs to test on, {degraded} and {clean}",
        layout=layout,
        source="not a published data set",
        markers=tuple(f"{ALONE}/{side}" for side in (degraded, clean)),
        find_splits=find_splits,
        may_lack_training=True,
    )
