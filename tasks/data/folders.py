"""A user's own real pairs.

    DATA/train/noisy/NAME   DATA/train/clean/NAME      to train on
    DATA/val/noisy/NAME     DATA/val/clean/NAME        to test on, of any size from 11 x 11

The same file names on both sides, and for each name the same size; any image format that Pillow reads (`tasks.data.photographs` says what
becomes of grey, palettes, transparency and 16 bits). Files whose name starts with a dot are passed over.

Layers are judged on crops of training photographs: with at least eight, one in eight of them is kept back from the gradient steps for that,
the same ones at every run; with fewer, all are used for both. Photographs of `val` are only ever tested on.
"""

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from bench.contract import Pair
from bench.errors import ConfigError
from tasks.data.pairs import Scene
from tasks.data.photographs import as_float, read_photograph

SPLIT_VERSION = 1  # raise it when other photographs are kept back, or files are read in another way
LAYOUT = "train/noisy, train/clean, val/noisy and val/clean, with the same file names in noisy and clean"
PARTS = ("train", "val")
SIDES = ("noisy", "clean")
KEPT_BACK_FROM, KEPT_BACK_ONE_IN = 8, 8
LEAST_TEST_PIXELS = 11  # the window of SSIM
Listing = dict[str, tuple[str, ...]]  # "train" | "val" -> sorted file names
Stamp = tuple[tuple[str, int, int], ...]  # file, bytes, time of the last change in ns


class FolderPairs(NamedTuple):
    """All pairs of a folder, decoded: for gradient steps, for judging layers, for testing."""

    train: tuple[Scene, ...]
    calibration: tuple[Scene, ...]
    test: tuple[Pair, ...]


def load(data: str) -> FolderPairs:
    """Every photograph of the folder, read and checked once per process and state of the files.

    Raises:
        ConfigError: the folder does not have the layout, or a file cannot be used; names the first one.
    """
    root = Path(data).resolve()
    return _load(root, _stamp(_files(root, listing(data))))


def listing(data: str) -> Listing:
    """The file names of both parts, checked for layout and for pairs, without opening a file. Raises ConfigError."""
    root = Path(data)
    if not root.is_dir():
        raise ConfigError(
            f"data folder '{data}' {'is a file' if root.exists() else 'does not exist'}; give 'embedded' or a folder with {LAYOUT}"
        )
    return {part: _paired_names(root, part) for part in PARTS}


def fingerprint_parts(data: str) -> list[bytes]:
    """Name and bytes of every file, and the version of the split. Raises ConfigError if the layout is wrong or a file cannot be read."""
    root = Path(data)
    parts = [str(SPLIT_VERSION).encode()]
    for path in _files(root, listing(data)):
        try:
            parts += [path.relative_to(root).as_posix().encode(), path.read_bytes()]
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror}); replace or remove it") from error
    return parts


def kept_back(names: Sequence[str]) -> tuple[str, ...]:
    """The training photographs on which layers are judged instead of trained: one in eight, or none if there are fewer than eight."""
    if len(names) < KEPT_BACK_FROM:
        return ()
    return tuple(sorted(random.Random(0).sample(sorted(names), round(len(names) / KEPT_BACK_ONE_IN))))


@lru_cache(maxsize=2)
def _load(root: Path, stamp: Stamp) -> FolderPairs:
    names = listing(str(root))
    train = [_scene(root / "train", name) for name in names["train"]]
    back = kept_back(names["train"])
    test = [_test_pair(_scene(root / "val", name)) for name in names["val"]]
    calibration = [scene for scene in train if scene.name in back]
    return FolderPairs(tuple(scene for scene in train if scene.name not in back), tuple(calibration or train), tuple(test))


def _files(root: Path, names: Listing) -> list[Path]:
    return [root / part / side / name for part in PARTS for side in SIDES for name in names[part]]


def _stamp(files: Sequence[Path]) -> Stamp:
    """Changes when a file does, without reading it."""
    return tuple((str(path), (status := path.stat()).st_size, status.st_mtime_ns) for path in files)


def _paired_names(root: Path, part: str) -> tuple[str, ...]:
    noisy, clean = (_names(root, part, side) for side in SIDES)
    alone = [
        f"{side}/{name}" for side, name in sorted([("noisy", name) for name in noisy - clean] + [("clean", name) for name in clean - noisy])
    ]
    if alone:
        raise ConfigError(
            f"{root / part}: {len(alone)} of the photographs have no partner of the same name: {_few(alone)}; rename, add or remove"
        )
    return tuple(sorted(noisy))


def _names(root: Path, part: str, side: str) -> set[str]:
    folder = root / part / side
    if not folder.is_dir():
        raise ConfigError(f"data folder {root} has no {part}/{side}{_hint(root)}; needed are {LAYOUT}")
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if not entries:
        raise ConfigError(f"{folder} is empty; needed are {LAYOUT}")
    folders = sorted(entry.name for entry in entries if not entry.is_file())
    if folders:
        raise ConfigError(f"{folder} holds what is not a file: {_few(folders)}; put the photographs directly into {side}")
    return {entry.name for entry in entries}


def _hint(root: Path) -> str:
    """Names the folders one level below that look right."""
    below = sorted(entry.name for entry in root.iterdir() if (entry / "train").is_dir())
    return f"; did you mean one of the folders in it: {_few(below)}?" if below else ""


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _scene(folder: Path, name: str) -> Scene:
    """One decoded (degraded, clean) pair of equal size."""
    noisy, clean = (read_photograph(folder / side / name) for side in SIDES)
    if noisy.shape != clean.shape:
        sizes = " and ".join(f"{side} {image.shape[2]} x {image.shape[1]}" for side, image in zip(SIDES, (noisy, clean), strict=True))
        raise ConfigError(
            f"{folder}: the two photographs {name} differ in size ({sizes} pixels); crop them to the same place or remove them"
        )
    if min(clean.shape[1:]) < LEAST_TEST_PIXELS:
        height, width = clean.shape[1:]
        raise ConfigError(
            f"{folder / 'clean' / name} has {width} x {height} pixels, below {LEAST_TEST_PIXELS} x {LEAST_TEST_PIXELS}; remove the pair"
        )
    return Scene(name, (noisy, clean))


def _test_pair(scene: Scene) -> Pair:
    degraded, clean = scene.images
    return Pair(scene.name, as_float(degraded), as_float(clean))
