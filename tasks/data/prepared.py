"""The photographs of a folder, decoded once.

Each is kept as arrays on disk (.raw), beside a note (.json) with the size, the time of the last
change and the SHA-256 of its source files. A source that has not changed since is not opened again;
one that has, is. A killed preparation goes on where it was.

Training reads the crop that it needs through a memory map that is closed at once, so that resident
memory does not grow with the data set; small data sets are held in memory. The length of an array
is verified, its content is not.

An array is named by its content: it is never overwritten under a process that reads it, and images
that several pairs share are kept once. The cache lies in PRUNEBENCH_CACHE, or in
~/.cache/prunebench; it may be deleted while nothing runs.
"""

import hashlib
import json
import math
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.contract import Pair
from bench.errors import ConfigError
from bench.files import atomic
from bench.files.checked_json import json_of
from bench.files.hashing import checksum
from tasks.data.library import DataSet, Library, Photo
from tasks.data.pairs import Scene
from tasks.data.photographs import as_float

VERSION = 2  # raise it when other photographs are kept back, or files are read in another way
KEPT_BACK_FROM, KEPT_BACK_ONE_IN = 8, 8
IN_MEMORY_BYTES = 256 * 2**20
SHOWN_FROM = 16  # photographs to decode
TRAIN = "train"
ARRAY, ITEM_BYTES = re.compile("[0-9a-f]{32}\\.raw"), {"uint8": 1, "float32": 4}
KEPT_LIBRARIES = 4  # in one process
Stamp = tuple[
    tuple[str, str, int, int], ...
]  # split and photograph, file, bytes, time of the last change in ns
Entry = dict[
    str, Any
]  # "sources": [[file, bytes, time of the last change in ns, SHA-256]], "arrays": [[file, shape, type, bytes]]


class Stored:
    """One image on disk, (3, H, W); an index gives what it names as a tensor.

    Args:
        path: of the array.
        shape, dtype: of it.
    """

    def __init__(self, path: Path, shape: Sequence[int], dtype: str) -> None:
        self.path, self.shape, self.dtype = path, tuple(shape), dtype

    def __getitem__(self, where: Any) -> Tensor:
        import numpy

        return torch.from_numpy(
            numpy.array(numpy.memmap(self.path, self.dtype, "r", shape=self.shape)[where])
        )


class Pairs(Sequence[Pair]):
    """Test photographs, each read when it is asked for."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Pairs(self._scenes[index])
        name, (degraded, clean) = self._scenes[index]
        return Pair(name, as_float(degraded[:]), as_float(clean[:]))


class Prepared(NamedTuple):
    """A library, decoded: for gradient steps, for judging layers, for testing; and a hash of all of it."""

    train: tuple[Scene, ...]
    calibration: tuple[Scene, ...]
    test: Mapping[str, Pairs]
    fingerprint: str

    def photographs(self) -> dict[str, Pairs]:
        """Split -> its photographs; without any that are kept back there is no "calibration"."""
        sides = {TRAIN: Pairs(self.train)} | (
            {} if self.calibration == self.train else {"calibration": Pairs(self.calibration)}
        )
        return {**sides, **self.test}


_KEPT: dict[tuple[Path, str, Stamp], Prepared] = {}


def prepared(root: Path, data_set: DataSet) -> Prepared:
    """The folder's photographs, from the cache where they are there.

    Layers are judged on crops of training photographs: with at least eight, one in eight of them is
    kept back from the gradient steps for that, the same ones at every run; with fewer, all are used
    for both. Photographs of the test sets are only ever tested on.

    Args:
        root: of the data set, absolute.
        data_set: whose layout it has.

    Raises:
        ConfigError: a file cannot be used.
    """
    library = data_set.open(root)
    for split, photos in ((TRAIN, library.train), *library.test.items()):
        if not photos:
            raise ConfigError(
                f"{root} is laid out like {data_set.name}, and has no photographs of '{split}'; needed is {data_set.layout}"
            )
    name = f"{data_set.name} {data_set.variant}"
    state = (root, name, _stamp(library))
    if state not in _KEPT:
        if len(_KEPT) == KEPT_LIBRARIES:
            _KEPT.clear()
        _KEPT[state] = _prepared(root, name, library)
    return _KEPT[state]


def kept_back(names: Sequence[str]) -> tuple[str, ...]:
    """The training scenes on which layers are judged instead of trained: one in eight, or none if there are fewer than eight."""
    if len(names) < KEPT_BACK_FROM:
        return ()
    return tuple(
        sorted(random.Random(0).sample(sorted(names), round(len(names) / KEPT_BACK_ONE_IN)))
    )


def cache_folder() -> Path:
    """Where decoded photographs are kept."""
    return Path(os.environ.get("PRUNEBENCH_CACHE") or Path.home() / ".cache" / "prunebench")


def _prepared(root: Path, name: str, library: Library) -> Prepared:
    folder = cache_folder() / _digest([VERSION, name, str(root)])
    entries = _decoded(root, folder, library)
    in_memory = (
        sum(size for entry in entries.values() for *_, size in entry["arrays"]) <= IN_MEMORY_BYTES
    )
    scenes: dict[str, list[Scene]] = {}
    for (split, photo), entry in zip(_photos(library), entries.values(), strict=True):
        stored = [Stored(folder / file, shape, dtype) for file, shape, dtype, _ in entry["arrays"]]
        scenes.setdefault(split, []).append(
            Scene(photo.name, tuple(one[:] for one in stored) if in_memory else tuple(stored))
        )
    train = scenes.pop(TRAIN)
    of = [photo.scene or photo.name for photo in library.train]
    back = kept_back(sorted(set(of)))
    calibration = tuple(one for one, scene in zip(train, of, strict=True) if scene in back)
    return Prepared(
        train=tuple(one for one, scene in zip(train, of, strict=True) if scene not in back),
        calibration=calibration or tuple(train),
        test={split: Pairs(found) for split, found in scenes.items()},
        fingerprint=_fingerprint(name, entries),
    )


def _photos(library: Library) -> Iterator[tuple[str, Photo]]:
    yield from ((TRAIN, photo) for photo in library.train)
    yield from ((split, photo) for split, photos in library.test.items() for photo in photos)


def _stamp(library: Library) -> Stamp:
    """Changes when a file does, without reading it."""
    seen = {file: file.stat() for _, photo in _photos(library) for file in photo.files}
    places = [
        (f"{split}/{photo.name}", file) for split, photo in _photos(library) for file in photo.files
    ]
    return tuple((key, str(file), seen[file].st_size, _changed(seen[file])) for key, file in places)


def _changed(status: os.stat_result) -> int:
    """When a file was last changed, in ns; another file that was moved to its place with an old date counts."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def _fingerprint(name: str, entries: Mapping[str, Entry]) -> str:
    """SHA-256, as hex, of the data set's name, and of the names and bytes of all files."""
    files = [
        [key, *([file, checksum] for file, _, _, checksum in entry["sources"])]
        for key, entry in entries.items()
    ]
    return hashlib.sha256(json.dumps([VERSION, name, files]).encode()).hexdigest()


def _decoded(root: Path, folder: Path, library: Library) -> dict[str, Entry]:
    """Split/name -> its entry, with every array on disk."""
    sources = _Sources(root)
    photos = {f"{split}/{photo.name}": photo for split, photo in _photos(library)}
    entries = {key: _known(key, photo, folder, sources) for key, photo in photos.items()}
    for key in _shown([key for key, entry in entries.items() if entry is None], folder):
        entries[key] = _decode(key, photos[key], folder, sources)
    return {key: entry for key, entry in entries.items() if entry is not None}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


class _Sources:
    """Stamps and checksums of source files, each looked at once."""

    def __init__(self, root: Path) -> None:
        self._root, self._stamps, self._checksums = root, dict[Path, list[Any]](), dict[Path, str]()

    def stamp(self, file: Path) -> list[Any]:
        """[name as seen from the root, bytes, time of the last change in ns]."""
        if file not in self._stamps:
            status = file.stat()
            self._stamps[file] = [
                Path(os.path.relpath(file, self._root)).as_posix(),
                status.st_size,
                _changed(status),
            ]
        return self._stamps[file]

    def full(self, file: Path) -> list[Any]:
        """The stamp and the SHA-256."""
        if file not in self._checksums:
            try:
                with file.open("rb") as opened:
                    self._checksums[file] = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as error:
                raise ConfigError(
                    f"{file} cannot be read ({error.strerror}); replace or remove it"
                ) from error
        return [*self.stamp(file), self._checksums[file]]


def _known(key: str, photo: Photo, folder: Path, sources: _Sources) -> Entry | None:
    """The entry of a photograph whose files have not changed since, and whose arrays are there."""
    try:
        entry = json_of(folder / f"{_digest(key)}.json")
        unchanged = [source[:3] for source in entry["sources"]] == [
            sources.stamp(file) for file in photo.files
        ]
        whole = all(map(_is_array, entry["arrays"])) and all(
            (folder / file).stat().st_size == size for file, *_, size in entry["arrays"]
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged: decoded anew
        return None
    return entry if unchanged and whole else None


def _is_array(noted: Any) -> bool:
    """Whether a note can be that of an array in this folder."""
    file, shape, dtype, size = noted
    sized = len(shape) == 3 and all(type(length) is int and length > 0 for length in shape)
    return bool(
        ARRAY.fullmatch(file)
        and dtype in ITEM_BYTES
        and sized
        and size == ITEM_BYTES[dtype] * math.prod(shape)
    )


def _decode(key: str, photo: Photo, folder: Path, sources: _Sources) -> Entry:
    """Reads a photograph and writes its arrays, then the note that they are there."""
    arrays: list[tuple[str, list[int], str, int]] = []
    for image in photo.read():
        pixels = image.numpy()
        content = pixels.tobytes()
        file = f"{checksum(content)[:32]}.raw"
        arrays.append((file, list(pixels.shape), str(pixels.dtype), len(content)))
        if not (folder / file).is_file() or (folder / file).stat().st_size != len(content):
            atomic.write(folder / file, content)
    entry = {"sources": [sources.full(file) for file in photo.files], "arrays": arrays}
    atomic.write(folder / f"{_digest(key)}.json", json.dumps(entry).encode())
    return entry


def _shown(todo: Sequence[str], folder: Path) -> Iterator[str]:
    """The same, with progress on stderr."""
    from tqdm import tqdm

    yield from tqdm(
        todo,
        f"preparing photographs in {folder}",
        unit="photo",
        leave=False,
        mininterval=2,
        disable=len(todo) < SHOWN_FROM,
    )
