"""The layout of a user's own real pairs of equal size: one folder for each side of each split.

    DATA/train/noisy/NAME   DATA/train/clean/NAME      for training
    DATA/val/noisy/NAME     DATA/val/clean/NAME        for testing, of any size from 11 x 11

The two files of a pair have the same name and the same size. Formats are PNG, JPEG, TIFF, WebP and
more: `tasks.data.photographs` lists them, and describes how grey images, palettes, transparency and
16 bits are read. The sides are called noisy and clean in denoising, low and high in low light.
"""

from pathlib import Path

from tasks.data.dataset import DataSet, Splits, list_pairs

SPLITS = ("train", "val")


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
