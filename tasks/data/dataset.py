"""Data sets in folders: which layout a folder has, and which pairs are for training and testing.

    DataSet     one official layout: whether a folder has it, and which pairs are in the folder
    Splits      the pairs of a folder for training and testing, none decoded yet
    PhotoPair   one (degraded, clean) pair, or one clean photograph: its files, how to read it

Files whose name starts with a dot, and those that Windows adds, are ignored. Every fault is a
ConfigError that names the first faulty file or folder.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from bench.errors import ConfigError
from tasks.data.photographs import read_photograph

MIN_PIXELS = 11  # of each side: the window of SSIM
ADDED_BY_WINDOWS = ("Thumbs.db", "desktop.ini")
# (degraded, clean) or (clean,), each (3, H, W), uint8 or float32 in [0, 1].
Images = tuple[Tensor, ...]


class PhotoPair(NamedTuple):
    """The files of one (degraded, clean) pair or of one clean photograph, and how to read them.

    Args:
        name: unique in its split: "SCENE/NAME" where the data set has scenes, of which each is held
            out as a whole and counts as one in comparisons; a name without "/" anywhere else.
        files: the source files.
        read: decodes the images; raises ConfigError.
    """

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Images]


class Splits(NamedTuple):
    """The training pairs of a folder, and its test sets by name."""

    train: tuple[PhotoPair, ...]
    test: Mapping[str, tuple[PhotoPair, ...]]


class DataSet(NamedTuple):
    """A data set in its official layout.

    Args:
        name: name of the data set; part of every fingerprint.
        layout: the required files and folders in one line, for messages.
        source: where to get the data set, and its licence.
        markers: folders and files below the root; a folder with one of them has this layout.
        find_splits: lists the pairs in a root; raises ConfigError.
        variant: how the files are read, such as the scale; part of every fingerprint.
        recognise: tells whether a folder without a marker has this layout.
        clean: whether it has clean photographs alone, which the task degrades.
        may_lack_training: whether there may be none to train on; the embedded images then take
            their place.
    """

    name: str
    layout: str
    source: str
    markers: tuple[str, ...]
    find_splits: Callable[[Path], Splits]
    variant: str = ""
    recognise: Callable[[Path], bool] = lambda root: False
    clean: bool = False
    may_lack_training: bool = False

    def matches(self, root: Path) -> bool:
        """Return whether the folder has this layout."""
        return any((root / marker).exists() for marker in self.markers) or self.recognise(root)


def identify_data_set(
    data: str, accepted: Sequence[DataSet], others: Mapping[str, Sequence[DataSet]]
) -> tuple[Path, DataSet]:
    """Find out which data set a folder holds.

    Args:
        data: path of the folder.
        accepted: data sets that the task reads.
        others: other task -> data sets that it reads, for the suggestion in the message.

    Returns:
        The absolute path of the folder, and the first accepted data set whose layout it has.

    Raises:
        ConfigError: the folder has none of the layouts; suggests a folder nearby or another task.
    """
    root = Path(data)
    needed = "; or ".join(f"{data_set.name}: {data_set.layout}" for data_set in accepted)
    if not root.is_dir():
        raise ConfigError(
            f"data folder '{data}' {'is a file' if root.exists() else 'does not exist'}; "
            f"give 'embedded' or a folder of {needed}"
        )
    for data_set in accepted:
        if data_set.matches(root):
            return root.resolve(), data_set
    raise ConfigError(
        f"data folder '{data}' has the layout of no data set that this task reads"
        f"{_suggest(root, accepted, others)}; the task needs {needed}"
    )


def _suggest(
    root: Path, accepted: Sequence[DataSet], others: Mapping[str, Sequence[DataSet]]
) -> str:
    """Suggest a folder inside or above the root, or another task; "" if neither fits."""
    nearby = [
        *sorted(entry for entry in root.iterdir() if entry.is_dir()),
        *root.resolve().parents[:2],
    ]
    for data_set in accepted:
        for folder in nearby:
            if data_set.matches(folder):
                return f"; did you mean {folder}, which looks like {data_set.name}?"
    for task, data_sets in others.items():
        for data_set in data_sets:
            if data_set.matches(root):
                return f"; it looks like {data_set.name}, which task {task} reads"
    return ""


def list_files(folder: Path, needed: str) -> dict[str, Path]:
    """Return name -> file of a folder that holds photographs only, sorted by name.

    Args:
        folder: the folder.
        needed: the layout, for messages.

    Raises:
        ConfigError: the folder is missing, empty, or holds folders.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is missing; the layout must be {needed}")
    entries = sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name not in ADDED_BY_WINDOWS
    )
    if not entries:
        raise ConfigError(f"{folder} is empty; the layout must be {needed}")
    if folders := [entry.name for entry in entries if not entry.is_file()]:
        raise ConfigError(
            f"{folder} holds something other than files: {format_names(folders)}; "
            "put the photographs directly into it"
        )
    return {entry.name: entry for entry in entries}


def list_pairs(
    degraded: Path,
    clean: Path,
    needed: str,
    scale: int = 1,
    partner: Callable[[str], str] = lambda name: name,
) -> tuple[PhotoPair, ...]:
    """Match the files of two folders by their names.

    Args:
        degraded: folder of the degraded photographs.
        clean: folder of the clean ones.
        needed: the layout, for messages.
        scale: how many times larger a clean photograph is.
        partner: name of a clean file -> name of its degraded file.

    Returns:
        The pairs, named and sorted by their clean files.

    Raises:
        ConfigError: a folder cannot be used, or a photograph has no partner.
    """
    degraded_files = list_files(degraded, needed)
    clean_files = list_files(clean, needed)
    clean_name = {partner(name): name for name in clean_files}
    if len(clean_name) < len(clean_files):
        raise ConfigError(
            f"{clean}: {len(clean_files)} photographs share {len(clean_name)} partners in "
            f"{degraded}; give each a name of its own"
        )
    alone = [f"{degraded.name}/{name}" for name in degraded_files if name not in clean_name]
    alone += [
        f"{clean.name}/{clean_name[name]}"
        for name in sorted(clean_name)
        if name not in degraded_files
    ]
    if alone:
        raise ConfigError(
            f"{clean.parent}: {len(alone)} of the photographs have no partner of the "
            f"{'same' if scale == 1 else 'right'} name: {format_names(alone)}; "
            "rename, add or remove files"
        )
    return tuple(
        make_pair(name, degraded_files[partner(name)], path, scale)
        for name, path in clean_files.items()
    )


def make_pair(name: str, degraded: Path, clean: Path, scale: int = 1) -> PhotoPair:
    """Make a pair of two image files."""

    def read() -> Images:
        return match_sizes(
            read_photograph(degraded), read_photograph(clean), degraded, clean, scale
        )

    return PhotoPair(name, (degraded, clean), read)


def match_sizes(
    degraded: Tensor, clean: Tensor, degraded_file: Path, clean_file: Path, scale: int = 1
) -> Images:
    """Crop the clean image to a multiple of `scale`, and check that the sizes match.

    Args:
        degraded: (3, H, W).
        clean: (3, scale H, scale W), and at most `scale` - 1 more rows and columns.
        degraded_file: for messages.
        clean_file: for messages.
        scale: how many times larger the clean image is.

    Returns:
        The degraded and the cropped clean image.

    Raises:
        ConfigError: the sizes do not match, or are too small for the window of SSIM.
    """
    clean = crop_to_multiple(clean, scale)
    if tuple(size * scale for size in degraded.shape[1:]) != clean.shape[1:]:
        images = ((degraded_file.parent.name, degraded), (clean_file.parent.name, clean))
        sizes = " and ".join(
            f"{side} {image.shape[2]} x {image.shape[1]}" for side, image in images
        )
        sizes += " pixels" if scale == 1 else f" pixels, at a scale of {scale}"
        raise ConfigError(
            f"{degraded_file}: the two photographs {clean_file.name} differ in size ({sizes}); "
            "crop them to the same region or remove them"
        )
    check_size(clean, clean_file, scale)
    return degraded, clean


def check_size(clean: Tensor, file: Path, scale: int = 1) -> None:
    """Raise ConfigError if a photograph is too small to be scored.

    At a scale above 1 the score leaves out a border of `scale` pixels.
    """
    least = MIN_PIXELS + (2 * scale if scale > 1 else 0)
    height, width = clean.shape[1:]
    if min(height, width) < least:
        raise ConfigError(
            f"{file} has {width} x {height} pixels, below {least} x {least}; remove it"
        )


def crop_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Crop an image (C, H, W) at the bottom and the right to multiples of `multiple`."""
    height, width = (size - size % multiple for size in image.shape[1:])
    return image[:, :height, :width]


def format_names(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are, for messages."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
