"""What a folder of photographs is to a task: which data set it is, what is trained on and what is tested on.

    DataSet   knows one official layout: whether a folder has it, and what is in it
    Library   the photographs of a folder, none decoded yet
    Photo     one (degraded, clean) pair: its files, and how to read it

Files whose name starts with a dot are passed over. What is wrong is a ConfigError that names the
first file or folder that is.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from bench.errors import ConfigError
from tasks.data.photographs import read_photograph

LEAST_PIXELS = 11  # the window of SSIM
Images = tuple[Tensor, ...]  # (degraded, clean), each (3, H, W), uint8 or float32 in [0, 1]


class Photo(NamedTuple):
    """A pair that can be read.

    Args:
        name: unique in its split.
        files: what it is made from.
        read: decodes it; raises ConfigError.
        scene: photographs of one scene go to one side when some are kept back; without a name it is
            alone.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Images]
    scene: str = ""


class Library(NamedTuple):
    """What is trained on, and the test sets by name."""

    train: tuple[Photo, ...]
    test: Mapping[str, tuple[Photo, ...]]


class DataSet(NamedTuple):
    """A layout.

    Args:
        name: of the data set; part of every fingerprint.
        layout: in one line, for messages.
        source: where to get it, and its licence.
        marks: folders and files below the root, of which one at least tells it from all others.
        open: the library in a root. Raises ConfigError.
        variant: of what `open` makes of the files; part of every fingerprint.
    """

    name: str
    layout: str
    source: str
    marks: tuple[str, ...]
    open: Callable[[Path], Library]
    variant: str = ""

    def is_in(self, root: Path) -> bool:
        """Whether the folder has one of the marks."""
        return any((root / mark).exists() for mark in self.marks)


def recognised(
    data: str, known: Sequence[DataSet], others: Mapping[str, Sequence[DataSet]]
) -> tuple[Path, DataSet]:
    """The folder, and which of the known data sets it is.

    Args:
        data: its path.
        known: what the task reads.
        others: task -> what that one reads, for a hint.

    Raises:
        ConfigError: it is none; says which folder or which task may be meant.
    """
    root = Path(data)
    needed = "; or ".join(f"{one.name}: {one.layout}" for one in known)
    if not root.is_dir():
        raise ConfigError(
            f"data folder '{data}' {'is a file' if root.exists() else 'does not exist'}; give 'embedded' or a folder of {needed}"
        )
    for one in known:
        if one.is_in(root):
            return root.resolve(), one
    raise ConfigError(
        f"data folder '{data}' is laid out like none of the data sets of this task{_hint(root, known, others)}; needed is {needed}"
    )


def _hint(root: Path, known: Sequence[DataSet], others: Mapping[str, Sequence[DataSet]]) -> str:
    near = [
        *sorted(entry for entry in root.iterdir() if entry.is_dir()),
        *root.resolve().parents[:2],
    ]
    for folder in near:
        for one in known:
            if one.is_in(folder):
                return f"; did you mean {folder}, which looks like {one.name}?"
    for task, sets in others.items():
        for one in sets:
            if one.is_in(root):
                return f"; it looks like {one.name}, which task {task} reads"
    return ""


def files_in(folder: Path, needed: str) -> dict[str, Path]:
    """Name -> file, sorted. Raises ConfigError if the folder is missing, empty, or holds folders.

    Args:
        folder: holds photographs only.
        needed: the layout, for messages.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is missing; needed is {needed}")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if not entries:
        raise ConfigError(f"{folder} is empty; needed is {needed}")
    if folders := [entry.name for entry in entries if not entry.is_file()]:
        raise ConfigError(
            f"{folder} holds what is not a file: {few(folders)}; put the photographs directly into it"
        )
    return {entry.name: entry for entry in entries}


def pairs_in(
    degraded: Path,
    clean: Path,
    needed: str,
    scale: int = 1,
    partner: Callable[[str], str] = lambda name: name,
) -> tuple[Photo, ...]:
    """The pairs of two folders.

    Args:
        degraded, clean: the folders.
        needed: the layout, for messages.
        scale: how many times larger a clean photograph is.
        partner: name of a clean file -> name of its degraded one.

    Raises:
        ConfigError: a folder cannot be used, or a photograph has no partner.
    """
    of_degraded, of_clean = files_in(degraded, needed), files_in(clean, needed)
    wanted = {partner(name): name for name in of_clean}
    if len(wanted) < len(of_clean):
        raise ConfigError(
            f"{clean}: {len(of_clean)} photographs share {len(wanted)} partners in {degraded}; give each a name of its own"
        )
    alone = [f"{degraded.name}/{name}" for name in of_degraded if name not in wanted]
    alone += [f"{clean.name}/{wanted[name]}" for name in sorted(wanted) if name not in of_degraded]
    if alone:
        raise ConfigError(
            f"{clean.parent}: {len(alone)} of the photographs have no partner of the {'same' if scale == 1 else 'right'} name: "
            f"{few(alone)}; rename, add or remove"
        )
    return tuple(
        pair(name, of_degraded[partner(name)], path, scale) for name, path in of_clean.items()
    )


def pair(name: str, degraded: Path, clean: Path, scale: int = 1, scene: str = "") -> Photo:
    """A pair of two image files."""

    def read() -> Images:
        return matching(read_photograph(degraded), read_photograph(clean), degraded, clean, scale)

    return Photo(name, (degraded, clean), read, scene)


def matching(
    degraded: Tensor, clean: Tensor, degraded_file: Path, clean_file: Path, scale: int = 1
) -> Images:
    """Both images, the clean one cut at the bottom and the right to a multiple of `scale`.

    Raises:
        ConfigError: they do not show the same place, or are too small for the window of SSIM.
    """
    clean = cut_to_multiple(clean, scale)
    if tuple(size * scale for size in degraded.shape[1:]) != clean.shape[1:]:
        of_each = ((degraded_file.parent.name, degraded), (clean_file.parent.name, clean))
        sizes = " and ".join(
            f"{side} {image.shape[2]} x {image.shape[1]}" for side, image in of_each
        )
        sizes += " pixels" if scale == 1 else f" pixels, at a scale of {scale}"
        raise ConfigError(
            f"{degraded_file}: the two photographs {clean_file.name} differ in size ({sizes}); crop them to the same place or remove them"
        )
    check_size(clean, clean_file, scale)
    return degraded, clean


def check_size(clean: Tensor, file: Path, scale: int = 1) -> None:
    """Raises ConfigError for a photograph that is too small to be scored; at a scale above 1 its border is not looked at."""
    least, (height, width) = LEAST_PIXELS + (2 * scale if scale > 1 else 0), clean.shape[1:]
    if min(height, width) < least:
        raise ConfigError(
            f"{file} has {width} x {height} pixels, below {least} x {least}; remove it"
        )


def cut_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(C, H, W) without the last rows and columns beyond a multiple."""
    height, width = (size - size % multiple for size in image.shape[1:])
    return image[:, :height, :width]


def few(names: Sequence[str]) -> str:
    """The first three of them."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
