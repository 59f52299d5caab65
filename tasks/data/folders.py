"""A user's own real pairs, of equal size, in two folders each.

    DATA/train/noisy/NAME   DATA/train/clean/NAME      to train on
    DATA/val/noisy/NAME     DATA/val/clean/NAME        to test on, of any size from 11 x 11

The same file names on both sides, and for each name the same size; PNG, JPEG, TIFF, WebP and more
(`tasks.data.photographs` says which, and what becomes of grey, palettes, transparency and 16 bits).
The two sides are called noisy and clean in denoising, low and high in low light.
"""

from pathlib import Path

from tasks.data.library import DataSet, Library, pairs_in

PARTS = ("train", "val")


def pairs_folder(degraded: str, clean: str) -> DataSet:
    """The layout with these names of the sides."""
    layout = f"train/{degraded}, train/{clean}, val/{degraded} and val/{clean}, with the same file names in {degraded} and {clean}"

    def open_(root: Path) -> Library:
        train, val = (
            pairs_in(root / part / degraded, root / part / clean, layout) for part in PARTS
        )
        return Library(train, {"val": val})

    marks = tuple(f"{part}/{side}" for part in PARTS for side in (degraded, clean))
    return DataSet(
        f"your own pairs, {degraded} and {clean}", layout, "not a published data set", marks, open_
    )
