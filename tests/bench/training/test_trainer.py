"""TaskTrainer: schedules, metering, random streams, branches."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.errors import ConfigError, PluginError
from bench.training.trainer import GRADIENT_NORM, Meter, TaskTrainer, chosen_device
from tests.fakes import RECIPE, FakeTask, Tiny


def trainer(**changes) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=3)


def network() -> Tiny:
    torch.manual_seed(0)
    return Tiny(4)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def test_a_rate_is_halved_drops_minus_one_times_at_equal_distances():
    rates = trainer(pretrain_rate=8.0, pretrain_drops=4).learning_rates("pretrain", 8)
    assert rates[1:] == [8, 4, 4, 2, 2, 1, 1]


@pytest.mark.parametrize(("steps", "rising"), [(3, 1), (16, 4), (400, 100), (5000, 200)])
def test_a_rate_rises_linearly_over_the_first_steps_of_a_phase(steps: int, rising: int) -> None:
    rates = trainer(finetune_rate=1.0).learning_rates("search", steps)
    assert rates[:rising] == pytest.approx([(index + 1) / rising for index in range(rising)])
    assert set(rates[rising:]) == {1.0}


def test_adapting_has_the_schedule_of_fine_tuning_and_searching_stays_at_its_first_rate():
    one = trainer(finetune_rate=2.0, finetune_drops=2)
    assert one.learning_rates("finetune", 2) == one.learning_rates("adapt", 2) == [2, 1]
    assert one.learning_rates("search", 2) == [2, 2]


def test_fit_is_adam_on_the_batches_of_the_stream_with_gradients_cut_off_at_a_norm():
    ours, theirs = network(), network()
    trainer().fit(ours, 3, phase="search")
    adam = torch.optim.Adam(theirs.parameters(), lr=RECIPE.finetune_rate)
    for degraded, clean in trainer().batches(3):
        adam.zero_grad()
        (theirs(degraded) - clean).abs().mean().backward()
        norm = torch.cat([weight.grad.flatten() for weight in theirs.parameters()]).norm()
        assert norm > GRADIENT_NORM  # so that the cut is seen
        for weight in theirs.parameters():
            weight.grad *= GRADIENT_NORM / norm
        adam.step()
    assert torch.allclose(weights(ours), weights(theirs), atol=1e-6)


def test_fit_books_steps_samples_seconds_and_forward_passes_of_its_phase():
    one = trainer()
    assert one.fit(network(), 3, phase="adapt") == 3
    assert one.meter.steps == {"adapt": 3} and one.meter.samples == {"adapt": 6}
    assert one.meter.forward_passes == 3 and one.meter.seconds["adapt"] > 0


def test_after_step_ends_the_phase_and_sees_the_rate():
    seen = []
    done = trainer().fit(
        network(),
        5,
        phase="search",
        after_step=lambda index, rate: seen.append((index, rate)) or index == 1,
    )
    assert done == 2 and seen == [(0, RECIPE.finetune_rate), (1, RECIPE.finetune_rate)]


def test_objective_replaces_the_loss_and_penalty_is_added():
    still, pulled = network(), network()
    before = weights(still).clone()
    trainer().fit(
        still, 2, phase="adapt", objective=lambda model, degraded, clean: 0 * model(degraded).sum()
    )
    trainer().fit(
        pulled,
        2,
        phase="adapt",
        objective=lambda model, d, c: 0 * model(d).sum(),
        penalty=lambda model: weights_norm(model),
    )
    assert torch.equal(weights(still), before) and weights(pulled).norm() < before.norm()


def weights_norm(model: nn.Module) -> torch.Tensor:
    return sum((parameter**2).sum() for parameter in model.parameters())


def test_no_steps_train_nothing():
    one, model = trainer(), network()
    assert one.fit(model, 0, phase="finetune") == 0 and not one.meter.steps


def test_a_loss_that_is_no_number_is_refused_with_phase_and_step():
    with pytest.raises(PluginError, match="nan at step 2 of 2 of phase 'search'"):
        trainer().fit(
            network(),
            2,
            phase="search",
            objective=lambda model, d, c: model(d).sum() * float("nan"),
        )


def test_the_calibration_loss_is_the_mean_criterion_in_eval_mode():
    one, model = trainer(calibration_crops=5), network().train()
    assert [len(clean) for _, clean in one.calibration] == [2, 2, 1]
    degraded, clean = (torch.cat(crops) for crops in zip(*one.calibration, strict=True))
    assert one.loss(model) == pytest.approx((model(degraded) - clean).abs().mean().item())
    assert model.training and one.meter.forward_passes == 3 and one.meter.samples == {"search": 5}


def test_judging_leaves_the_batches_alone():
    judging, plain = trainer(), trainer()
    judging.loss(network())
    assert all(
        torch.equal(a[0], b[0]) for a, b in zip(judging.batches(2), plain.batches(2), strict=True)
    )


def test_a_branch_forgets_what_was_drawn_and_metered():
    one, model = trainer(), network()
    one.fit(model, 1, phase="adapt")
    with one.branch():
        one.fit(deepcopy(model), 2, phase="search")
        torch.rand(1)
        assert one.meter.steps == {"adapt": 1, "search": 2}
    assert (
        one.meter.steps == {"adapt": 1}
        and "search" not in one.meter.seconds
        and one.meter.forward_passes == 1
    )
    other = trainer()
    list(other.batches(1))
    assert torch.equal(next(one.batches(1))[0], next(other.batches(1))[0])


def test_copies_of_a_counted_network_are_counted_and_come_back_plain():
    one, model = trainer(), network()
    with one.count_calls(model):
        copy = deepcopy(model)
        copy(torch.zeros(1, 3, 16, 16))
        one.fit(copy, 1, phase="adapt")
    one.uncount(copy)
    assert one.meter.forward_passes == 2 and not model._forward_hooks and not copy._forward_hooks


def test_initialising_again_gives_the_same_weights():
    first, second = network(), Tiny(4)
    trainer().reinitialise(first)
    trainer().reinitialise(second)
    assert torch.equal(weights(first), weights(second))


def test_time_is_booked_to_the_innermost_phase_only_while_it_runs(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 6.0])
    monkeypatch.setattr("bench.training.meter.perf_counter", lambda: next(clock))
    meter = Meter()
    with meter.during("search"), meter.during("adapt"):
        pass
    assert meter.seconds == {"search": 4.0, "adapt": 2.0}


def test_an_absent_device_is_refused():
    assert chosen_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="device 'tpu' is not available"):
        chosen_device("tpu")
