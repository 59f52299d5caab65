"""Checkpoints: a training that is killed anywhere and started again has the same result."""

import os
import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, nn

from bench.contract import Budget
from bench.errors import PluginError
from bench.memory.profile import peak_memory
from bench.plugins.registry import METHODS
from bench.training import checkpoints
from bench.training.checkpoints import Checkpoints
from bench.training.trainer import TaskTrainer
from tasks.models.unet import UNet
from tests.fakes import RECIPE, AnyScale, FakeTask, Tiny


class Killed(BaseException):
    """An exception that no code catches."""


class Steps:
    """Counts the training steps of all trainers, and kills the training after `allowed` steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        self.allowed = 10**9
        step = torch.optim.Adam.step

        def count_step(adam: torch.optim.Adam, *args: Any) -> Any:
            if self.taken == self.allowed:
                raise Killed
            self.taken += 1
            return step(adam, *args)

        monkeypatch.setattr(torch.optim.Adam, "step", count_step)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def trainer(folder: Path | None, **changes: Any) -> TaskTrainer:
    recipe = replace(RECIPE, **changes)
    checkpoints = Checkpoints(folder, every_seconds=0)
    return TaskTrainer(AnyScale(), "embedded", recipe, seed=3, checkpoints=checkpoints)


def network(width: int = 4) -> Tiny:
    torch.manual_seed(0)
    return Tiny(width)


def state(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def are_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


def kill_and_restart(
    work: Callable[[], Any], steps: Steps, kill_after: Iterator[int] | list[int]
) -> Any:
    """Return the result of the last attempt.

    Each attempt before is killed after a number of steps in `kill_after`.
    """
    for allowed in kill_after:
        steps.allowed = steps.taken + allowed
        with pytest.raises(Killed):
            work()
    steps.allowed = 10**9
    return work()


def costs(used: TaskTrainer) -> list[Any]:
    return [
        used.meter.steps,
        used.meter.samples,
        used.meter.losses,
        used.meter.forward_passes,
        used._batch_generator.get_state().tolist(),
    ]


def test_a_killed_training_resumes_from_its_last_step_and_has_the_same_result(
    tmp_path: Path, steps: Steps
) -> None:
    def work(folder: Path | None) -> tuple[list[torch.Tensor], list[Any]]:
        model = network()
        own_trainer = trainer(folder)
        own_trainer.fit(model, 9, phase="search")
        own_trainer.fit(model, 4, phase="adapt")
        return state(model), costs(own_trainer)

    undisturbed = work(None)
    before = steps.taken
    restarted = kill_and_restart(lambda: work(tmp_path), steps, [5, 0, 6])
    assert are_equal(restarted[0], undisturbed[0]) and restarted[1] == undisturbed[1]
    assert steps.taken - before == 13


def test_a_training_in_parts_is_one_training_also_if_it_is_killed_in_any_part(
    tmp_path: Path, steps: Steps
) -> None:
    def work(folder: Path | None, ends: tuple[int, ...]) -> tuple[list[torch.Tensor], list[Any]]:
        model = network()
        own_trainer = trainer(folder)
        parts = own_trainer.fit_in_parts(
            model,
            9,
            phase="pretrain",
            after_step=lambda index, rate: index + 1 in ends,
            callback_state={},
        )
        for done, end in zip(parts, (*ends, 9), strict=True):
            assert done == end
            with own_trainer.branch():
                own_trainer.fit(deepcopy(model), 2, phase="pretrain")
        return state(model), costs(own_trainer)

    whole = work(None, ())
    in_parts = work(None, (2, 6))
    assert are_equal(in_parts[0], whole[0]) and in_parts[1] == whole[1]
    before = steps.taken
    restarted = kill_and_restart(lambda: work(tmp_path, (2, 6)), steps, [1, 5, 4])
    assert are_equal(restarted[0], whole[0]) and restarted[1] == whole[1]
    assert steps.taken - before == 9 + 3 * 2


def test_a_training_that_draws_from_torch_resumes_with_its_draws(
    tmp_path: Path, steps: Steps
) -> None:
    def dim(model: nn.Module, degraded: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        return (model(degraded * torch.rand(())) - clean).abs().mean()

    def work(folder: Path | None) -> list[torch.Tensor]:
        model = network()
        trainer(folder).fit(model, 6, phase="search", objective=dim, callback_state={})
        return state(model)

    undisturbed = work(None)
    assert are_equal(kill_and_restart(lambda: work(tmp_path), steps, [3]), undisturbed)


@pytest.mark.parametrize(
    "name", ["mosp", "dhp", "assl", "group_lasso", "s_net", "us_net", "autoslim"]
)
def test_a_method_that_is_killed_anywhere_ends_with_the_same_network(
    name: str, tmp_path: Path, steps: Steps
) -> None:
    torch.manual_seed(1)
    model = UNet(width=8, levels=3)
    options = {"groups": 2, "crops": 2, "epochs": 4} if name == "autoslim" else {}
    method = METHODS.get(name)(**options)
    shape = (1, 3, 32, 32)
    budget = Budget(int(0.85 * peak_memory(model, shape)), shape)

    def work(folder: Path | None) -> tuple[Any, ...]:
        torch.manual_seed(5)
        own_trainer = trainer(folder, pretrain_steps=8)
        pruned = method.prune(model, budget, own_trainer)
        notes = [step.note for step in pruned.trace]
        return state(pruned.model), pruned.kept, notes, costs(own_trainer)

    undisturbed = work(None)
    needed = steps.taken
    restarted = kill_and_restart(lambda: work(tmp_path), steps, [3, needed - 5])
    assert are_equal(restarted[0], undisturbed[0]) and restarted[1:] == undisturbed[1:]
    assert steps.taken == 2 * needed


def test_buffers_that_a_network_does_not_save_are_kept(tmp_path: Path, steps: Steps) -> None:
    class Counting(Tiny):
        def __init__(self) -> None:
            super().__init__(4)
            self.register_buffer("seen", torch.zeros(()), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen += 0.1
            return super().forward(x) * self.seen

    def work(folder: Path | None) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = Counting()
        trainer(folder).fit(model, 6, phase="search")
        return [*state(model), model.seen.clone()]

    undisturbed = work(None)
    assert are_equal(kill_and_restart(lambda: work(tmp_path), steps, [3]), undisturbed)


def test_a_training_whose_callbacks_do_not_give_their_state_starts_from_its_beginning(
    tmp_path: Path, steps: Steps
) -> None:
    draws = Generator().manual_seed(0)

    def work() -> int:
        return trainer(tmp_path).fit(
            network(), 4, phase="search", penalty=lambda _: torch.rand((), generator=draws).sum()
        )

    kill_and_restart(work, steps, [3])
    assert steps.taken == 7 and not list(tmp_path.iterdir())


def test_two_trainings_with_one_start_and_different_callbacks_are_different(tmp_path: Path) -> None:
    results = []
    for strength in (0.0, 10.0):
        model = network()
        trainer(tmp_path).fit(
            model,
            3,
            phase="search",
            penalty=lambda net, by=strength: by * net.first.weight.square().sum(),
            callback_state={"strength": strength},
        )
        results.append(state(model))
    assert not are_equal(*results)


def test_two_trainings_of_different_weights_are_different(tmp_path: Path) -> None:
    results = []
    for change in (0.0, 1.0):
        model = network()
        with torch.no_grad():
            model.first.weight[0, 0] += change
        trainer(tmp_path).fit(model, 3, phase="finetune")
        results.append(state(model))
    assert not are_equal(*results)


def test_a_phase_that_a_callback_ended_is_not_continued(tmp_path: Path, steps: Steps) -> None:
    def work() -> int:
        return trainer(tmp_path).fit(
            network(),
            6,
            phase="search",
            after_step=lambda index, rate: index == 2,
            callback_state={},
        )

    assert [work(), work()] == [3, 3] and steps.taken == 3


def test_a_damaged_checkpoint_is_set_aside_and_the_training_starts_from_its_beginning(
    tmp_path: Path, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> list[torch.Tensor]:
        model = network()
        trainer(tmp_path).fit(model, 3, phase="search")
        return state(model)

    first = work()
    (path,) = tmp_path.glob("*.checkpoint")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert are_equal(work(), first) and steps.taken == 6
    assert "is damaged" in caplog.text and path.with_name(f"{path.name}.damaged").is_file()


def test_a_checkpoint_is_written_after_a_while_and_at_the_end_of_a_training_that_was_not_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**6, 2))
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: next(now))
    written: list[Any] = []
    monkeypatch.setattr(checkpoints.atomic, "write", lambda path, content: written.append(path))
    for every_seconds, steps in ((10**4, 3), (40, 3), (10, 12)):
        own_trainer = TaskTrainer(
            FakeTask(), "embedded", RECIPE, 3, checkpoints=Checkpoints(tmp_path, every_seconds)
        )
        own_trainer.fit(network(), steps, phase="search")
        written.append(None)
    assert [entry is None for entry in written] == [True, False, True, False, False, False, True]


def test_a_short_training_that_nothing_can_resume_is_not_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    path = checkpoints._Start.path
    monkeypatch.setattr(
        checkpoints._Start, "path", property(lambda self: hashed.append(self) or path.fget(self))
    )
    for expected in (0, 1):
        kept = Checkpoints(tmp_path, every_seconds=1e6)
        trainer = TaskTrainer(AnyScale(), "embedded", RECIPE, seed=3, checkpoints=kept)
        trainer.fit(network(), 2, phase="finetune")
        assert len(hashed) == expected
        (tmp_path / "left-by-an-earlier-process.checkpoint").touch()


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_waits_for_the_step_and_keeps_it(tmp_path: Path, steps: Steps) -> None:
    def work(interrupt_at: int) -> list[torch.Tensor]:
        def interrupt(index: int, rate: float) -> None:
            if index == interrupt_at:
                signal.raise_signal(signal.SIGINT)

        model = network()
        checkpoints = Checkpoints(tmp_path, every_seconds=1e6)
        own_trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, 3, checkpoints=checkpoints)
        own_trainer.fit(model, 6, phase="search", after_step=interrupt, callback_state={})
        return state(model)

    with pytest.raises(KeyboardInterrupt):
        work(interrupt_at=3)
    assert steps.taken == 4
    work(interrupt_at=-1)
    assert steps.taken == 6


def test_deleted_checkpoints_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "trainings"
    trainer(folder).fit(network(), 3, phase="search")
    assert folder.exists()
    for _ in range(2):
        Checkpoints(folder).delete()
        assert not folder.exists()


def test_checkpoints_that_another_process_deletes_at_the_same_time_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink_twice(*args: Any, **options: Any) -> None:
        unlink(*args, **options)
        raise FileNotFoundError

    unlink = os.unlink
    checkpoints = Checkpoints(tmp_path / "trainings")
    checkpoints.write_numbers({"loss": 1.0})
    monkeypatch.setattr(os, "unlink", unlink_twice)
    checkpoints.delete()
    assert not (tmp_path / "trainings").exists()


def test_a_callback_state_that_cannot_be_stored_is_refused_before_the_training(
    tmp_path: Path, steps: Steps
) -> None:
    with pytest.raises(
        PluginError, match="must hold objects with a state, or plain values: Object of type object"
    ):
        trainer(tmp_path).fit(
            network(),
            3,
            phase="search",
            after_step=lambda index, rate: None,
            callback_state={"own": object()},
        )
    assert steps.taken == 0


def test_a_finished_pretraining_serves_every_job_of_its_scope_and_no_other(
    tmp_path: Path, steps: Steps
) -> None:
    def pretrain(job: str, scope: str) -> tuple[list[torch.Tensor], list[Any]]:
        checkpoints = Checkpoints(
            tmp_path / job, 0, (tmp_path / "new", tmp_path / "shipped"), scope
        )
        own_trainer = TaskTrainer(FakeTask(), "embedded", RECIPE, 3, checkpoints=checkpoints)
        model = network()
        own_trainer.fit(model, 3, phase="pretrain")
        return state(model), costs(own_trainer)

    first = pretrain("a", "one")
    assert steps.taken == 3
    (tmp_path / "new").rename(tmp_path / "shipped")
    second = pretrain("b", "one")
    assert steps.taken == 3
    assert are_equal(first[0], second[0]) and first[1] == second[1]
    pretrain("c", "two")
    assert steps.taken == 6
