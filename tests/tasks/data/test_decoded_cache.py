"""The cache of decoded photographs.

A file is decoded once, and again after it has changed; large data sets stay on disk.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from tasks.data import array_files
from tasks.data import decoded_cache as module
from tasks.data.decoded_cache import load_data_set, select_held_out
from tasks.data.pairs import CropSampler, PairedCrops
from tests.tasks.data.test_folders import PAIRS, make_pairs_folder
from tests.tasks.data.trees import write_noise


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(folder))
    module._LOADED.clear()
    return folder


def test_a_photograph_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    module._LOADED.clear()
    monkeypatch.setattr(
        "tasks.data.dataset.read_photograph", lambda path: pytest.fail(f"{path} is decoded again")
    )
    again = load_data_set(tmp_path, PAIRS)
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.train[0].images[1], first.train[0].images[1])


def test_a_changed_file_is_read_again_and_has_another_fingerprint(tmp_path: Path) -> None:
    before = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    assert load_data_set(tmp_path, PAIRS) is before
    write_noise(tmp_path / "train/clean/train0.png", seed=99)
    after = load_data_set(tmp_path, PAIRS)
    assert not torch.equal(after.train[0].images[1], before.train[0].images[1])
    assert torch.equal(after.train[1].images[1], before.train[1].images[1])
    assert after.fingerprint != before.fingerprint


def test_files_that_change_places_keep_their_dates_and_are_read_again(tmp_path: Path) -> None:
    before = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    first, second = (tmp_path / "train/clean" / name for name in ("train0.png", "train1.png"))
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    module._LOADED.clear()
    after = load_data_set(tmp_path, PAIRS)
    assert torch.equal(after.train[0].images[1], before.train[1].images[1])
    assert after.fingerprint != before.fingerprint


def test_a_process_that_reads_keeps_its_pixels_while_another_prepares_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    reading = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    before = reading.test["val"][0].clean
    write_noise(tmp_path / "val/clean/val0.png", seed=7)
    assert not torch.equal(load_data_set(tmp_path, PAIRS).test["val"][0].clean, before)
    assert torch.equal(reading.test["val"][0].clean, before)


def test_equal_images_are_kept_once(tmp_path: Path, cache: Path) -> None:
    make_pairs_folder(tmp_path)
    for index in range(3):
        write_noise(tmp_path / f"train/clean/train{index}.png", seed=5)
    load_data_set(tmp_path, PAIRS)
    assert len(list(cache.rglob("*.raw"))) == 10 - 2


def test_the_fingerprint_is_that_of_the_files_wherever_they_lie(tmp_path: Path) -> None:
    one, other = make_pairs_folder(tmp_path / "a"), make_pairs_folder(tmp_path / "b")
    assert load_data_set(one, PAIRS).fingerprint == load_data_set(other, PAIRS).fingerprint


@pytest.mark.parametrize("ending", ["raw", "json"])
def test_a_damaged_cache_is_made_again(ending: str, tmp_path: Path, cache: Path) -> None:
    before = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    for path in cache.rglob(f"*.{ending}"):
        path.write_bytes(b"{")
    module._LOADED.clear()
    after = load_data_set(tmp_path, PAIRS)
    assert after.fingerprint == before.fingerprint
    assert torch.equal(after.test["val"][0].clean, before.test["val"][0].clean)


def test_a_killed_preparation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = module._decode
    done = []

    def dies(key: str, *rest: object) -> object:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(key)
        return decode(key, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_decode", dies)
    with pytest.raises(KeyboardInterrupt):
        load_data_set(make_pairs_folder(tmp_path), PAIRS)
    monkeypatch.setattr(
        module, "_decode", lambda key, *rest: (done.append(key), decode(key, *rest))[1]
    )
    load_data_set(tmp_path, PAIRS)
    assert done == [f"train/train{index}.png" for index in range(3)] + [
        f"val/val{index}.png" for index in range(2)
    ]


def test_crops_from_disk_are_those_from_memory_at_8_and_at_16_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = numpy.random.default_rng(0).integers(0, 65536, (20, 24)).astype(numpy.uint16)
    Image.fromarray(levels).save(make_pairs_folder(tmp_path) / "train/clean/train1.png")
    in_memory = PairedCrops(CropSampler(load_data_set(tmp_path, PAIRS).train)).sample(
        16, 16, torch.Generator().manual_seed(0)
    )
    module._LOADED.clear()
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    from_disk = PairedCrops(CropSampler(load_data_set(tmp_path, PAIRS).train)).sample(
        16, 16, torch.Generator().manual_seed(0)
    )
    assert all(torch.equal(one, other) for one, other in zip(in_memory, from_disk, strict=True))


def test_four_are_kept_back_for_judging_layers_from_sixteen_on(tmp_path: Path) -> None:
    found = load_data_set(make_pairs_folder(tmp_path, train=16), PAIRS)
    held_out = {photograph.name for photograph in found.calibration}
    trained = {photograph.name for photograph in found.train}
    assert len(held_out) == 4 and len(trained) == 12 and not held_out & trained
    names = [f"train{index}.png" for index in reversed(range(16))]
    assert select_held_out(names) == tuple(sorted(held_out))


@pytest.mark.parametrize(("scenes", "held_out"), [(15, 0), (16, 4), (32, 4), (48, 6), (160, 20)])
def test_one_scene_in_eight_is_kept_back_and_at_least_four(scenes: int, held_out: int) -> None:
    assert len(select_held_out([str(index) for index in range(scenes)])) == held_out


def test_without_holding_out_all_are_trained_on_and_nothing_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = load_data_set(make_pairs_folder(tmp_path, train=16), PAIRS)
    monkeypatch.setattr(
        "tasks.data.dataset.read_photograph", lambda path: pytest.fail(f"{path} is decoded again")
    )
    whole = load_data_set(tmp_path, PAIRS, hold_out=False)
    assert len(whole.train) == 16 and whole.calibration == whole.train
    assert list(whole.photographs()) == ["train", "val"]
    assert whole.fingerprint == split.fingerprint and len(split.train) == 12


GROWTH = """
import resource, sys, torch
from pathlib import Path
from typing import Any
from tasks.data import array_files
from tasks.data import decoded_cache as module
from tasks.data.pairs import CropSampler, PairedCrops
from tasks.data.folders import pairs_folder
module.IN_MEMORY_BYTES = 0
found = module.load_data_set(Path(sys.argv[1]), pairs_folder("noisy", "clean"))
draws = torch.Generator().manual_seed(0)
for _ in range(40):
    PairedCrops(CropSampler(found.train)).sample(16, 64, draws)
for pair in found.test["val"]:
    pair.clean.mean()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_resident_memory_does_not_grow_with_the_number_of_photographs(tmp_path: Path) -> None:
    """40 pairs of 6 MB beside 4."""
    used = []
    for count in (4, 40):
        root = tmp_path / str(count)
        for part, photos in (("train", count), ("val", 2)):
            for index in range(photos):
                first = write_noise(root / part / "noisy" / f"{index}.bmp", index, (1024, 1024))
                (root / part / "clean").mkdir(exist_ok=True)
                (root / part / "clean" / first.name).hardlink_to(first)
        done = subprocess.run(
            [sys.executable, "-c", GROWTH, root], capture_output=True, text=True, check=True
        )
        used.append(int(done.stdout))
    assert used[1] < used[0] + 40


@pytest.mark.parametrize(
    "array",
    [
        ["../outside.raw", [3, 1, 1], "uint8", 3],
        ["0" * 32 + ".raw", [3, 1, 1], "object", 24],
        ["0" * 32 + ".raw", [3, 10**9, 10**9], "uint8", 3],
        ["0" * 32 + ".raw", [3, -1, -1], "uint8", 3],
    ],
)
def test_an_entry_that_points_elsewhere_is_not_followed(
    array: list[Any], tmp_path: Path, cache: Path
) -> None:
    honest = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    entry = next(path for path in cache.rglob("*.json") if "train0" in path.read_text())
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"arrays": [array, array]}))
    for name in ("outside.raw", "0" * 32 + ".raw"):
        (entry.parent.parent / name).write_bytes(bytes(3))
        (entry.parent / name).write_bytes(bytes(3))
    module._LOADED.clear()
    assert torch.equal(load_data_set(tmp_path, PAIRS).train[0].images[1], honest.train[0].images[1])


def overwrite(path: Path, count: int = 20) -> None:
    """Change some bytes of a file, and not its size."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes(255 - byte for byte in path.read_bytes()[100 : 100 + count]))


@pytest.mark.parametrize("in_memory", [True, False])
def test_damaged_arrays_are_set_aside_and_decoded_again_with_one_warning(
    in_memory: bool,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 2**20 if in_memory else 0)
    before = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    clean = before.test["val"][0].clean
    arrays = list(cache.rglob("*.raw"))
    for path in arrays:
        overwrite(path)
    another_run(monkeypatch)
    after = load_data_set(tmp_path, PAIRS)
    assert torch.equal(after.test["val"][0].clean, clean)
    assert after.fingerprint == before.fingerprint
    assert len(caplog.messages) == 1 and f"{len(arrays)} decoded images" in caplog.text
    assert len(list(cache.rglob("*.raw.damaged"))) == len(arrays)


def another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows of the cache."""
    module._LOADED.clear()
    for name in [name for name in os.environ if name.startswith(module.VERIFIED)]:
        monkeypatch.delenv(name)


def test_a_run_verifies_an_array_once_unless_it_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[Path] = []
    is_intact = array_files._is_intact
    monkeypatch.setattr(
        array_files, "_is_intact", lambda path: (looked_at.append(path), is_intact(path))[1]
    )
    load_data_set(make_pairs_folder(tmp_path), PAIRS)
    another_run(monkeypatch)
    load_data_set(tmp_path, PAIRS)
    arrays = set(cache.rglob("*.raw"))
    assert len(looked_at) == len(arrays) and set(looked_at) == arrays
    module._LOADED.clear()  # as in a process that the run starts
    load_data_set(tmp_path, PAIRS)
    assert len(looked_at) == len(arrays)
    os.utime(looked_at[0], ns=(0, 0))
    module._LOADED.clear()
    load_data_set(tmp_path, PAIRS)
    assert len(looked_at) == 2 * len(arrays)


def test_what_an_older_program_decoded_is_decoded_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    for path in cache.rglob("*.json"):
        entry = json.loads(path.read_text())
        del entry["reader"]
        path.write_text(json.dumps(entry))
    read: list[Path] = []
    decode = module._decode
    monkeypatch.setattr(
        module, "_decode", lambda key, *rest: (read.append(key), decode(key, *rest))[1]
    )
    another_run(monkeypatch)
    assert load_data_set(tmp_path, PAIRS).fingerprint == before.fingerprint
    assert len(read) == 5


def test_a_side_with_an_orientation_is_turned_and_changes_the_fingerprint(tmp_path: Path) -> None:
    """The same pixels, upright in one file and upside down with orientation 3 in the other."""
    plain = load_data_set(make_pairs_folder(tmp_path), PAIRS)
    path = tmp_path / "val/noisy/val0.png"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.transpose(Image.Transpose.ROTATE_180).save(path, exif=exif)
    turned = load_data_set(tmp_path, PAIRS)
    assert torch.equal(turned.test["val"][0].degraded, plain.test["val"][0].degraded)
    entries = module._decode_missing(
        tmp_path.resolve(), module.cache_folder() / "x", PAIRS.find_splits(tmp_path)
    )
    turned_entries = [entry for entry in entries.values() if "turned" in entry]
    assert [entry["turned"] for entry in turned_entries] == [["val/noisy/val0.png"]]
    untouched = {
        key: {name: value for name, value in entry.items() if name != "turned"}
        for key, entry in entries.items()
    }
    name = f"{PAIRS.name} {PAIRS.variant}"
    assert module._fingerprint(name, entries) == turned.fingerprint
    assert module._fingerprint(name, untouched) != turned.fingerprint


def test_photographs_that_are_trained_on_and_tested_on_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_pairs_folder(tmp_path)
    for side in ("noisy", "clean"):
        photograph = (tmp_path / f"train/{side}/train1.png").read_bytes()
        (tmp_path / f"val/{side}/val0.png").write_bytes(photograph)
    load_data_set(tmp_path, PAIRS)
    (warning,) = caplog.messages
    assert "1 test photographs" in warning
    assert "val/val0.png is equal to train/train1.png" in warning
