"""Evaluation: padding, cropping to the original size, scores, means."""

import pytest
import torch
from torch import nn

from bench.training.evaluation import evaluate, input_scores, means, pad_to_multiple, restore
from tests.fakes import FakeTask, Tiny


class Halves(nn.Module):
    """Refuses sizes that cannot be halved four times."""

    def forward(self, x):
        assert x.shape[-1] % 16 == 0 and x.shape[-2] % 16 == 0
        return x.clone()


def test_a_photograph_of_any_size_comes_back_in_its_size():
    photo = torch.rand(3, 37, 50)
    assert torch.equal(restore(Halves(), photo, 16), photo)


def test_the_output_of_a_network_that_magnifies_is_cropped_at_its_scale():
    assert restore(nn.Upsample(scale_factor=2), torch.rand(3, 20, 33)).shape == (3, 40, 66)


def test_padding_reflects_and_replicates_where_there_is_too_little_to_reflect():
    wide = torch.arange(20.0).expand(1, 3, 20, 20)
    right = pad_to_multiple(wide, 16)[0, 0, 0, 20:]
    assert right.tolist() == [float(18 - column) for column in range(12)]
    assert pad_to_multiple(torch.ones(1, 3, 2, 5), 16).shape == (1, 3, 16, 16)


def test_the_identity_scores_like_the_input():
    task = FakeTask()
    assert evaluate(task, Halves(), "embedded") == input_scores(task, "embedded")
    assert list(input_scores(task, "embedded")["photos"]) == ["even", "odd"]


def test_means_are_over_the_photographs_of_all_sets():
    scores = {"a": {"x": {"psnr_db": 1.0}}, "b": {"y": {"psnr_db": 2.0}, "z": {"psnr_db": 6.0}}}
    assert means(scores) == {"psnr_db": pytest.approx(3.0)} and means({}) == {}


def test_evaluation_leaves_the_mode_as_it_was():
    model = Tiny(2).train()
    evaluate(FakeTask(), model, "embedded")
    assert model.training and model.first.training
