"""Cache of decoded photographs: every file of a data set is decoded once.

The cache stores each image as an array (.raw) and each pair as an entry (.json) with the size, the
time of the last change and the SHA-256 of its source files. A source file is read again only if it
has changed. An interrupted preparation continues where it stopped.

Training reads each crop through a memory map that is closed at once, so that resident memory does
not grow with the data set; small data sets are loaded into memory.

An array is named by its content: it is never overwritten while another process reads it, and images
that several pairs share are stored once. A run verifies all arrays when it first loads them, at
about 1 GB a second; damaged ones are set aside and decoded again. The processes that it starts
learn from an environment variable which arrays need no second look. The cache is the folder
PRUNEBENCH_CACHE, or ~/.cache/prunebench; it may be deleted while nothing runs. This is an adapter
to tqdm.
"""

import hashlib
import json
import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.contract import Pair, find_scene
from bench.errors import ConfigError
from bench.files import atomic
from bench.files.checked_json import read_json_limited
from bench.files.log import LOG
from tasks.data.array_files import ArrayOnDisk, find_unusable, is_valid_description, write_array
from tasks.data.dataset import DataSet, PhotoPair, Splits
from tasks.data.pairs import Photograph
from tasks.data.photographs import TURNED, to_float

VERSION = 3  # raise it when other photographs are held out, or all files are read in another way
READER = 1  # raise it when some files are decoded in another way; all are then decoded again
VERIFIED = "PRUNEBENCH_VERIFIED_"  # and the name of a folder: what this run has verified in it
HELD_OUT_FROM = 16  # training scenes; with fewer, none is held out
HELD_OUT_ONE_IN = 8
MIN_CALIBRATION_SCENES = 4  # held out at the least: layers are not judged by one photograph
IN_MEMORY_BYTES = 256 * 2**20
PROGRESS_FROM = 16  # pairs to decode; with fewer, no progress is shown
TRAIN = "train"
MAX_LOADED = 4  # data sets in one process

# For each file: split/name of its pair, file, bytes, time of the last change in ns.
Stamp = tuple[tuple[str, str, int, int], ...]
# "sources": [[file, bytes, time of the last change in ns, SHA-256], ...]
# "arrays": [[file, shape, dtype, bytes], ...]
# "reader": READER
# "turned": files that have an EXIF orientation; absent if none has
Entry = dict[str, Any]


def read_pair(photograph: Photograph) -> Pair:
    """Read a photograph with the images (degraded, clean) from disk."""
    degraded, clean = photograph.images
    return Pair(photograph.name, to_float(degraded[:]), to_float(clean[:]))


class LazyPairs(Sequence[Pair]):
    """Pairs that are read from disk when they are indexed.

    Args:
        photographs: as in the data set.
        make_pair: makes the pair of a photograph.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        make_pair: Callable[[Photograph], Pair] = read_pair,
    ) -> None:
        self._photographs = photographs
        self._make_pair = make_pair

    def __len__(self) -> int:
        return len(self._photographs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyPairs(self._photographs[index], self._make_pair)
        return self._make_pair(self._photographs[index])

    def made_by(self, make_pair: Callable[[Photograph], Pair]) -> "LazyPairs":
        """Return pairs of the same photographs that are made in another way."""
        return LazyPairs(self._photographs, make_pair)


class DecodedDataSet(NamedTuple):
    """The decoded photographs of a data set.

    Args:
        train: for gradient steps; a data set of clean photographs may have none.
        calibration: for scoring layers; the same as `train` where none is held out.
        test: test set -> its pairs.
        fingerprint: SHA-256, as hex, of names and bytes of all files.
        make_pair: makes the pair of a photograph; clean ones need `made_by` first.
    """

    train: tuple[Photograph, ...]
    calibration: tuple[Photograph, ...]
    test: Mapping[str, LazyPairs]
    fingerprint: str
    make_pair: Callable[[Photograph], Pair] = read_pair

    def made_by(self, make_pair: Callable[[Photograph], Pair]) -> "DecodedDataSet":
        """Return the data set with pairs that are made in another way."""
        test = {name: pairs.made_by(make_pair) for name, pairs in self.test.items()}
        return self._replace(test=test, make_pair=make_pair)

    def photographs(self) -> dict[str, LazyPairs]:
        """Return split -> pairs; "calibration" is absent if no photograph is held out."""
        splits = {TRAIN: LazyPairs(self.train, self.make_pair)} if self.train else {}
        if self.calibration != self.train:
            splits["calibration"] = LazyPairs(self.calibration, self.make_pair)
        return {**splits, **self.test}


_LOADED: dict[tuple[Path, str, Stamp, bool], DecodedDataSet] = {}


def load_data_set(root: Path, data_set: DataSet, hold_out: bool = True) -> DecodedDataSet:
    """Load the photographs of a folder, and decode those that the cache lacks.

    Layers are scored on crops of training photographs: of sixteen or more scenes, one in eight and
    at least four are held out from the gradient steps for this purpose, the same ones in every run;
    of fewer, all are used for both. Photographs of the test sets are used for testing only.

    Args:
        root: absolute path of the folder.
        data_set: the data set whose layout the folder has.
        hold_out: False: all training photographs are used for both, however many there are.

    Raises:
        ConfigError: a file cannot be used.
    """
    splits = data_set.find_splits(root)
    for split, pairs in ((TRAIN, splits.train), *splits.test.items()):
        if not pairs and not (data_set.may_lack_training and split == TRAIN):
            raise ConfigError(
                f"{root} is laid out like {data_set.name}, and has no photographs of '{split}'; "
                f"the layout must be {data_set.layout}"
            )
    name = f"{data_set.name} {data_set.variant}"
    state = (root, name, _stamp_files(splits), hold_out)
    if state not in _LOADED:
        if len(_LOADED) == MAX_LOADED:
            _LOADED.clear()
        _LOADED[state] = _load(root, name, splits, hold_out)
    return _LOADED[state]


def select_held_out(scenes: Sequence[str]) -> tuple[str, ...]:
    """Select the training scenes on which layers are scored instead of trained.

    Returns:
        One scene in eight and at least four, sorted; none if there are fewer than sixteen.
    """
    if len(scenes) < HELD_OUT_FROM:
        return ()
    count = max(MIN_CALIBRATION_SCENES, round(len(scenes) / HELD_OUT_ONE_IN))
    return tuple(sorted(random.Random(0).sample(sorted(scenes), count)))


def cache_folder() -> Path:
    """Return the folder of the decoded photographs of all data sets."""
    return Path(os.environ.get("PRUNEBENCH_CACHE") or Path.home() / ".cache" / "prunebench")


def _load(root: Path, name: str, splits: Splits, hold_out: bool) -> DecodedDataSet:
    folder = cache_folder() / _digest([VERSION, name, str(root)])
    entries = _decode_missing(root, folder, splits)
    in_memory = (
        sum(size for entry in entries.values() for *_, size in entry["arrays"]) <= IN_MEMORY_BYTES
    )
    photographs: dict[str, list[Photograph]] = {}
    for (split, pair), entry in zip(_iterate_pairs(splits), entries.values(), strict=True):
        arrays = [
            ArrayOnDisk(folder / file, shape, dtype) for file, shape, dtype, _ in entry["arrays"]
        ]
        images = tuple(array[:] for array in arrays) if in_memory else tuple(arrays)
        photographs.setdefault(split, []).append(Photograph(pair.name, images))
    by_scene = [
        (photograph, find_scene(photograph.name)) for photograph in photographs.pop(TRAIN, [])
    ]
    scenes = {scene for _, scene in by_scene}
    held_out = select_held_out(sorted(scenes)) if hold_out else ()
    _warn_of_equal(root, entries)
    train = tuple(photograph for photograph, scene in by_scene if scene not in held_out)
    return DecodedDataSet(
        train=train,
        calibration=tuple(photograph for photograph, scene in by_scene if scene in held_out)
        or train,
        test={split: LazyPairs(pairs) for split, pairs in photographs.items()},
        fingerprint=_fingerprint(name, entries),
    )


def _warn_of_equal(root: Path, entries: Mapping[str, Entry]) -> None:
    """Warn if clean photographs are both trained on and tested on; worker processes do not."""
    clean = {key: entry["arrays"][-1][0] for key, entry in entries.items()}
    trained = {array: key for key, array in clean.items() if key.startswith(f"{TRAIN}/")}
    equal = [key for key in clean if clean[key] in trained and not key.startswith(f"{TRAIN}/")]
    if equal and multiprocessing.parent_process() is None:
        LOG.warning(
            "prunebench: warning: %d test photographs of %s are also trained on, which makes the "
            "results too good: %s is equal to %s; remove one of each pair",
            len(equal),
            root,
            equal[0],
            trained[clean[equal[0]]],
        )


def _iterate_pairs(splits: Splits) -> Iterator[tuple[str, PhotoPair]]:
    """Yield (split, pair): the training pairs, then those of each test set."""
    yield from ((TRAIN, pair) for pair in splits.train)
    yield from ((split, pair) for split, pairs in splits.test.items() for pair in pairs)


def _stamp_files(splits: Splits) -> Stamp:
    """Return a value that changes when a file changes, without reading the files."""
    files = [
        (f"{split}/{pair.name}", file)
        for split, pair in _iterate_pairs(splits)
        for file in pair.files
    ]
    status = {file: file.stat() for file in dict.fromkeys(file for _, file in files)}
    return tuple(
        (key, str(file), status[file].st_size, _change_time_ns(status[file])) for key, file in files
    )


def _change_time_ns(status: os.stat_result) -> int:
    """Return when a file was last changed, in ns.

    The inode's time counts too: it changes when another file with an old date takes the name.
    """
    return max(status.st_mtime_ns, status.st_ctime_ns)


def _fingerprint(name: str, entries: Mapping[str, Entry]) -> str:
    """SHA-256, as hex, of the data set's name, and of the names and bytes of all files."""
    files = [
        [
            key,
            *([file, sha256] for file, _, _, sha256 in entry["sources"]),
            *(["turned", file] for file in entry.get("turned", ())),
        ]
        for key, entry in entries.items()
    ]
    return hashlib.sha256(json.dumps([VERSION, name, files]).encode()).hexdigest()


def _decode_missing(root: Path, folder: Path, splits: Splits) -> dict[str, Entry]:
    """Decode the pairs that the cache lacks; return split/name -> entry of all."""
    sources = _SourceFiles(root)
    pairs = {f"{split}/{pair.name}": pair for split, pair in _iterate_pairs(splits)}
    found = {key: _find_entry(key, pair, folder, sources) for key, pair in pairs.items()}
    unusable = _verify(folder, _array_files(filter(None, found.values())))
    missing = [
        key
        for key, entry in found.items()
        if entry is None or not unusable.isdisjoint(_array_files([entry]))
    ]
    for key in _show_progress(missing, f"preparing photographs in {folder}"):
        found[key] = _decode(key, pairs[key], folder, sources)
    entries = {key: entry for key, entry in found.items() if entry is not None}
    os.environ[VERIFIED + folder.name] = _stamp_arrays(folder, _array_files(entries.values()))
    return entries


def _verify(folder: Path, files: Sequence[str]) -> set[str]:
    """Return the arrays that cannot be used; trust those that this run has verified."""
    if os.environ.get(VERIFIED + folder.name) == _stamp_arrays(folder, files) != "":
        return set()
    progress = _show_progress(files, f"verifying photographs in {folder}", delay=2)
    return find_unusable(folder, progress)


def _array_files(entries: Iterable[Entry]) -> list[str]:
    """Return the names of the arrays of entries, each once."""
    return sorted({file for entry in entries for file, *_ in entry["arrays"]})


def _stamp_arrays(folder: Path, files: Sequence[str]) -> str:
    """Return a text that changes when an array changes; "" if one is missing."""
    try:
        status = [(folder / file).stat() for file in files]
    except FileNotFoundError:
        return ""
    return _digest([[one.st_ino, one.st_size, _change_time_ns(one)] for one in status])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


class _SourceFiles:
    """Stamps and checksums of the source files; each file is read at most once.

    Args:
        root: the data folder, to which the names of files are relative.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamps: dict[Path, list[Any]] = {}
        self._checksums: dict[Path, str] = {}

    def stamp(self, file: Path) -> list[Any]:
        """Return [name relative to the root, bytes, time of the last change in ns]."""
        if file not in self._stamps:
            status = file.stat()
            self._stamps[file] = [
                Path(os.path.relpath(file, self._root)).as_posix(),
                status.st_size,
                _change_time_ns(status),
            ]
        return self._stamps[file]

    def stamp_and_checksum(self, file: Path) -> list[Any]:
        """Return the stamp and the SHA-256. Raises ConfigError if the file cannot be read."""
        if file not in self._checksums:
            try:
                with file.open("rb") as opened:
                    self._checksums[file] = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as error:
                raise ConfigError(
                    f"{file} cannot be read ({error.strerror}); replace or remove it"
                ) from error
        return [*self.stamp(file), self._checksums[file]]


def _find_entry(key: str, pair: PhotoPair, folder: Path, sources: _SourceFiles) -> Entry | None:
    """Return the cache's entry of a pair; None if there is none, or its files have changed."""
    try:
        entry = read_json_limited(folder / f"{_digest(key)}.json")
        unchanged = [source[:3] for source in entry["sources"]] == [
            sources.stamp(file) for file in pair.files
        ]
        usable = entry["reader"] == READER and all(map(is_valid_description, entry["arrays"]))
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: decode it again
        return None
    return entry if unchanged and usable else None


def _decode(key: str, pair: PhotoPair, folder: Path, sources: _SourceFiles) -> Entry:
    """Decode a pair, write its arrays and then the entry that refers to them."""
    arrays = [write_array(folder, image) for image in pair.read()]
    stamps = [sources.stamp_and_checksum(file) for file in pair.files]
    entry = {"reader": READER, "sources": stamps, "arrays": arrays}
    if turned := [
        stamp[0] for file, stamp in zip(pair.files, stamps, strict=True) if file in TURNED
    ]:
        entry["turned"] = turned
    atomic.write(folder / f"{_digest(key)}.json", json.dumps(entry).encode())
    return entry


def _show_progress(items: Sequence[str], text: str, delay: float = 0) -> Iterator[str]:
    """Yield the items, and show progress on stderr, after a delay in seconds."""
    from tqdm import tqdm

    yield from tqdm(
        items,
        text,
        unit="photo",
        leave=False,
        mininterval=2,
        delay=delay,
        disable=len(items) < PROGRESS_FROM,
    )
