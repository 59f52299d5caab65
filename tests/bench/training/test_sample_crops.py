"""Sample crops: the choice does not depend on any method, and each file is written once, whole."""

import numpy
import torch
from PIL import Image
from torch import nn

from bench.contract import Pair
from bench.files.crops import crop_path
from bench.training.evaluation import evaluate
from bench.training.sample_crops import (
    SIDE,
    WHOLE_SIDE,
    crop_writer,
    most_detailed_corner,
)
from tests.fakes import FakeTask


def pixels(path):
    return torch.from_numpy(numpy.array(Image.open(path))).permute(2, 0, 1)


def test_the_crop_is_where_the_detail_is():
    photo = torch.zeros(3, 4 * SIDE, 4 * SIDE)
    photo[:, 2 * SIDE : 3 * SIDE : 2, SIDE : 2 * SIDE] = 1
    assert most_detailed_corner(photo) == (2 * SIDE, SIDE)


def test_a_photograph_smaller_than_a_crop_is_shown_whole():
    assert most_detailed_corner(torch.rand(3, 1, 5)) == (0, 0)
    assert most_detailed_corner(torch.rand(3, SIDE // 2, 3 * SIDE))[0] == 0


def evaluate_and_write(folder, shared):
    task = FakeTask()
    write_crops = crop_writer(task, folder, shared)
    return evaluate(task, nn.Identity(), "embedded", on_image=write_crops)


def test_evaluation_writes_the_restored_crops_and_the_shared_ones_once(tmp_path):
    task = FakeTask()
    evaluate_and_write(tmp_path / "one", tmp_path / "shared")
    pair = task.test_sets("embedded")["photos"][0]
    restored, degraded, clean = (
        pixels(crop_path(folder, "photos", pair.name))
        for folder in (tmp_path / "one", tmp_path / "shared/degraded", tmp_path / "shared/clean")
    )
    assert torch.equal(restored, degraded) and not torch.equal(restored, clean)
    top, left = most_detailed_corner(pair.clean)
    crop = pair.clean[:, top : top + SIDE, left : left + SIDE]
    assert torch.equal(clean, crop.clamp(0, 1).mul(255).round().byte())
    shared_path = crop_path(tmp_path / "shared/clean", "photos", pair.name)
    before = shared_path.stat().st_mtime_ns
    evaluate_and_write(tmp_path / "two", tmp_path / "shared")
    assert shared_path.stat().st_mtime_ns == before


def test_the_first_photograph_of_a_set_is_also_stored_whole(tmp_path):
    evaluate_and_write(tmp_path / "one", tmp_path / "shared")
    first, second = FakeTask().test_sets("embedded")["photos"]
    whole = pixels(crop_path(tmp_path / "shared/clean", "photos", first.name, whole=True))
    assert torch.equal(whole, first.clean.mul(255).round().byte())
    assert crop_path(tmp_path / "one", "photos", first.name, whole=True).is_file()
    assert not crop_path(tmp_path / "one", "photos", second.name, whole=True).exists()


def test_of_a_large_photograph_the_part_with_the_detail_is_stored_as_the_whole(tmp_path):
    clean = torch.zeros(3, 8, 2 * WHOLE_SIDE)
    clean[:, :, WHOLE_SIDE::2] = 1
    write_crops = crop_writer(FakeTask(), tmp_path / "one", tmp_path / "shared")
    write_crops("photos", Pair("wide", clean, clean), clean)
    whole = pixels(crop_path(tmp_path / "one", "photos", "wide", whole=True))
    assert torch.equal(whole, clean[:, :, WHOLE_SIDE:].mul(255).byte())


def test_long_names_are_shortened_and_stay_different(tmp_path):
    first, second = (crop_path(tmp_path, "set", "写" * 60 + end) for end in "ab")
    assert first != second and len(first.name.encode()) < 200 and first.name.isascii()


def test_a_disk_that_fails_costs_the_crop_and_no_record(tmp_path, caplog):
    (tmp_path / "one").write_text("a file where a folder should be")
    assert evaluate_and_write(tmp_path / "one", tmp_path / "shared")
    assert "the crop of even" in caplog.text


def test_names_with_slashes_stay_inside_their_folder(tmp_path):
    assert crop_path(tmp_path, "a/b", "../c").parent.parent == tmp_path


def test_no_name_leads_out_of_the_folder(tmp_path):
    for name in ("", ".", "..", "../..", "/etc/passwd", "a/../../b"):
        path = crop_path(tmp_path / "crops", name, name)
        assert (tmp_path / "crops").resolve() == path.resolve().parent.parent
