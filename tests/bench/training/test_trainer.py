"""TaskTrainer: schedules, metering, random streams, branches."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

from bench.errors import ConfigError, PluginError
from bench.torch_state import choose_device
from bench.training.meter import Meter
from bench.training.trainer import TaskTrainer
from tests.fakes import RECIPE, FakeTask, Tiny


def trainer(**changes) -> TaskTrainer:
    return TaskTrainer(FakeTask(), "embedded", replace(RECIPE, **changes), seed=3)


def network() -> Tiny:
    torch.manual_seed(0)
    return Tiny(4)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


class Noting(TaskTrainer):
    """Notes every batch that it draws."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.drawn = []

    def draw_batch(self, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        self.drawn.append(super().draw_batch(generator))
        return self.drawn[-1]


def batches_of(*phases, recipe=RECIPE, seed=3, **options) -> list[float]:
    """Return the batch of each step of some phases (phase, steps), as the sum of its pixels."""
    noting = Noting(FakeTask(), "embedded", recipe, seed, **options)
    for phase, steps in phases:
        noting.fit(network(), steps, phase=phase)
    return [float(sum(crops.double().sum() for crops in batch)) for batch in noting.drawn]


def test_fit_is_adam_on_its_batches_with_clipped_gradients():
    ours, theirs = network(), network()
    noting = Noting(FakeTask(), "embedded", RECIPE, seed=3)
    noting.fit(ours, 3, phase="search")
    adam = torch.optim.Adam(theirs.parameters(), lr=RECIPE.tuning_rate)
    assert len(noting.drawn) == 3
    for degraded, clean in noting.drawn:
        adam.zero_grad()
        (theirs(degraded) - clean).abs().mean().backward()
        norm = torch.cat([weight.grad.flatten() for weight in theirs.parameters()]).norm()
        assert norm > RECIPE.max_gradient_norm  # so that clipping is visible
        for weight in theirs.parameters():
            weight.grad *= RECIPE.max_gradient_norm / norm
        adam.step()
    assert torch.allclose(weights(ours), weights(theirs), atol=1e-6)


def test_in_bf16_only_the_passes_are_rounded_and_weights_and_loss_stay_in_float32():
    seen = []

    class Watched(FakeTask):
        def loss(self, restored, clean):
            seen.append(restored.dtype)
            return super().loss(restored, clean)

    networks = {precision: network() for precision in ("fp32", "bf16")}
    for precision, ours in networks.items():
        recipe = replace(RECIPE, training_precision=precision)
        ours.register_forward_hook(lambda *given: seen.append(given[-1].dtype))
        TaskTrainer(Watched(), "embedded", recipe, seed=3).fit(ours, 3, phase="search")
    assert seen == [torch.float32] * 6 + [torch.bfloat16, torch.float32] * 3
    plain, mixed = map(weights, networks.values())
    assert mixed.dtype == torch.float32 and not torch.equal(plain, mixed)
    torch.testing.assert_close(plain, mixed, rtol=0, atol=0.01)
    assert not torch.is_autocast_enabled("cpu")


def test_with_distillation_tuning_aims_at_the_unpruned_network_and_pretraining_does_not():
    recipe = replace(RECIPE, distillation=1.0)
    for phase, stays in (("search", True), ("finetune", True), ("pretrain", False)):
        ours, unpruned = network(), network()
        trainer = TaskTrainer(FakeTask(), "embedded", recipe, seed=3, teacher=unpruned)
        trainer.fit(ours, 3, phase=phase)
        assert torch.equal(weights(ours), weights(unpruned)) == stays, phase
        assert trainer.meter.forward_passes == 3  # those of the teacher are the harness's
    with pytest.raises(ConfigError, match="needs an unpruned network"):
        TaskTrainer(FakeTask(), "embedded", recipe, seed=3).fit(network(), 1, phase="search")


def test_a_share_of_distillation_mixes_the_targets():
    targets = []

    class Watched(FakeTask):
        def loss(self, restored, clean):
            targets.append(clean)
            return super().loss(restored, clean)

    for share in (0.0, 0.25, 1.0):
        recipe = replace(RECIPE, distillation=share)
        trainer = TaskTrainer(Watched(), "embedded", recipe, seed=3, teacher=network())
        trainer.fit(network(), 1, phase="adapt")
    clean, mixed, taught = targets
    torch.testing.assert_close(mixed, 0.75 * clean + 0.25 * taught)


def test_fit_books_steps_samples_seconds_and_forward_passes_of_its_phase():
    own_trainer = trainer()
    assert own_trainer.fit(network(), 3, phase="adapt") == 3
    meter = own_trainer.meter
    assert meter.steps == {"adapt": 3} and meter.samples == {"adapt": 6}
    assert meter.forward_passes == 3 and meter.seconds["adapt"] > 0


def test_the_networks_that_a_search_trains_are_shown_and_the_showing_costs_nothing():
    seen = []

    def look(model):
        seen.append(model)
        own_trainer.loss(model)

    own_trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed=3, on_search=look)
    first, second = network(), network()
    own_trainer.fit(first, 3, phase="search")
    own_trainer.fit(second, 3, phase="adapt")
    assert seen == [first]
    assert own_trainer.meter.forward_passes == 6 and own_trainer.meter.samples["search"] == 6


def test_fit_notes_the_loss_of_every_step():
    seen = []

    def objective(model, degraded, clean):
        seen.append((model(degraded) - clean).abs().mean())
        return seen[-1]

    noting = trainer()
    noting.fit(network(), 3, phase="adapt", objective=objective)
    noting.fit(network(), 2, phase="search", objective=objective)
    losses = [float(loss.detach()) for loss in seen]
    assert noting.meter.losses == {"adapt": losses[:3], "search": losses[3:]}


def test_psnr_is_the_mean_over_the_calibration_crops():
    measuring = trainer()
    model = network().eval()
    values = [
        float(-10 * (image.clamp(0, 1) - target).square().mean().log10().detach())
        for degraded, clean in measuring.calibration
        for image, target in zip(model(degraded), clean, strict=True)
    ]
    assert len(values) == RECIPE.calibration_crops
    assert measuring.psnr_db(model) == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_after_step_ends_the_phase_and_sees_the_rate():
    seen = []
    done = trainer().fit(
        network(),
        5,
        phase="search",
        after_step=lambda index, rate: seen.append((index, rate)) or index == 1,
    )
    assert done == 2 and seen == [(0, RECIPE.tuning_rate), (1, RECIPE.tuning_rate)]


def test_objective_replaces_the_loss_and_penalty_is_added():
    def zero_loss(model: nn.Module, degraded: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        return 0 * model(degraded).sum()

    def squared_norm(model: nn.Module) -> torch.Tensor:
        return sum((parameter**2).sum() for parameter in model.parameters())

    still, shrinking = network(), network()
    before = weights(still).clone()
    trainer().fit(still, 2, phase="adapt", objective=zero_loss)
    trainer().fit(shrinking, 2, phase="adapt", objective=zero_loss, penalty=squared_norm)
    assert torch.equal(weights(still), before) and weights(shrinking).norm() < before.norm()


def test_no_steps_train_nothing():
    own_trainer = trainer()
    assert own_trainer.fit(network(), 0, phase="finetune") == 0 and not own_trainer.meter.steps


def test_a_loss_that_is_no_number_is_refused_with_phase_and_step():
    with pytest.raises(PluginError, match="nan at step 2 of 2 of phase 'search'"):
        trainer().fit(
            network(),
            2,
            phase="search",
            objective=lambda model, d, c: model(d).sum() * float("nan"),
        )


def test_the_calibration_loss_is_the_mean_criterion_in_eval_mode():
    own_trainer = trainer(calibration_crops=5)
    model = network().train()
    assert [len(clean) for _, clean in own_trainer.calibration] == [2, 2, 1]
    degraded, clean = (torch.cat(crops) for crops in zip(*own_trainer.calibration, strict=True))
    assert own_trainer.loss(model) == pytest.approx((model(degraded) - clean).abs().mean().item())
    meter = own_trainer.meter
    assert model.training and meter.forward_passes == 3 and meter.samples == {"search": 5}


def test_the_calibration_loss_does_not_change_the_batches():
    judging, plain = trainer(), trainer()
    judging.loss(network())
    for judged, expected in zip(judging.batches(2), plain.batches(2), strict=True):
        assert torch.equal(judged[0], expected[0])


def test_two_seeds_and_two_streams_have_other_draws_of_the_method():
    def draws(seed: int, stream: str) -> tuple[int, float]:
        own_trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed, stream=stream)
        return own_trainer.seed, float(next(own_trainer.batches(1))[0].sum())

    drawn = draws(3, "method"), draws(4, "method"), draws(3, "finish")
    assert [len(set(values)) for values in zip(*drawn, strict=True)] == [3, 3]


def test_a_branch_restores_the_batches_the_meter_and_torchs_draws_at_its_end():
    branching = trainer()
    meter = branching.meter
    model = network()
    branching.fit(model, 1, phase="adapt")
    rng_state = torch.get_rng_state()
    with branching.branch():
        branching.fit(deepcopy(model), 2, phase="search")
        assert len(meter.losses["search"]) == 2
        list(branching.batches(2))
        torch.rand(1)
        assert meter.steps == {"adapt": 1, "search": 2}
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert meter.steps == {"adapt": 1} and meter.forward_passes == 1
    assert "search" not in meter.seconds and list(meter.losses) == ["adapt"]
    assert torch.equal(next(branching.batches(1))[0], next(trainer().batches(1))[0])


@pytest.mark.parametrize("phase", ["pretrain", "adapt", "search", "finetune"])
def test_at_one_seed_a_step_of_a_phase_has_the_same_batch_in_every_trainer(phase):
    whole = batches_of((phase, 4), stream="method")
    assert batches_of((phase, 4), stream="finish", tuned=5) == whole
    assert batches_of((phase, 1), (phase, 3), stream="pretrain") == whole
    assert len({*whole, *batches_of((phase, 4), seed=4)}) == 8


def test_under_matched_compute_a_place_on_the_curve_has_the_same_batch_in_every_phase():
    matched = replace(RECIPE, matched_steps=6)
    whole = batches_of(("finetune", 6), recipe=matched)
    assert batches_of(("adapt", 2), ("search", 3), recipe=matched) == whole[:5]
    assert batches_of(("finetune", 1), recipe=matched, tuned=5) == whole[5:]
    from_scratch = batches_of(("pretrain", 2), ("finetune", 6), recipe=matched)
    assert from_scratch[2:] == whole and not {*from_scratch[:2]} & {*whole}


def test_at_one_seed_calibration_and_initial_weights_are_the_same_in_every_trainer():
    def shared(stream: str, seed: int) -> list[torch.Tensor]:
        own_trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, seed, stream=stream)
        model = network()
        own_trainer.reinitialise(model)
        return [weights(model), *(crops for pair in own_trainer.calibration for crops in pair)]

    assert all(map(torch.equal, shared("method", 3), shared("finish", 3)))
    assert not any(map(torch.equal, shared("method", 3), shared("method", 4)))


def test_copies_of_a_counted_network_are_counted_and_come_back_plain():
    own_trainer = trainer()
    model = network()
    with own_trainer.count_calls(model):
        copy = deepcopy(model)
        copy(torch.zeros(1, 3, 16, 16))
        own_trainer.fit(copy, 1, phase="adapt")
    own_trainer.remove_call_counter(copy)
    assert own_trainer.meter.forward_passes == 2
    assert not model._forward_hooks and not copy._forward_hooks


def test_initialising_again_gives_the_same_weights():
    first, second = network(), Tiny(4)
    trainer().reinitialise(first)
    trainer().reinitialise(second)
    assert torch.equal(weights(first), weights(second))


def test_time_is_booked_to_the_innermost_phase_only_while_it_runs(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 6.0])
    monkeypatch.setattr("bench.training.meter.perf_counter", lambda: next(clock))
    meter = Meter()
    with meter.enter_phase("search"), meter.enter_phase("adapt"):
        pass
    assert meter.seconds == {"search": 4.0, "adapt": 2.0}


def test_a_device_that_is_not_available_is_refused():
    assert choose_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="device 'tpu' is not available"):
        choose_device("tpu")
