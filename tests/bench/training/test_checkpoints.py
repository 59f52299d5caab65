"""Checkpoints: a training that is interrupted anywhere and begun again ends as one that was not, bit for bit."""

import os
import signal
from collections.abc import Callable, Iterator
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
    """What no code expects."""


class Steps:
    """Counts the training steps of all trainers, and ends the process, as it were, after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken, self.allowed, step = 0, 10**9, torch.optim.Adam.step

        def counted(adam: torch.optim.Adam, *args: Any) -> Any:
            if self.taken == self.allowed:
                raise Killed
            self.taken += 1
            return step(adam, *args)

        monkeypatch.setattr(torch.optim.Adam, "step", counted)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def trainer(folder: Path | None, **changes: Any) -> TaskTrainer:
    kept = Checkpoints(folder, every_seconds=0)
    return TaskTrainer(AnyScale(), "embedded", replace(RECIPE, **changes), seed=3, checkpoints=kept)


def network(width: int = 4) -> Tiny:
    torch.manual_seed(0)
    return Tiny(width)


def state(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def killed_and_begun_again(
    work: Callable[[], Any], steps: Steps, after: Iterator[int] | list[int]
) -> Any:
    """The result of the last attempt; each of the others is killed after so many steps."""
    for allowed in after:
        steps.allowed = steps.taken + allowed
        with pytest.raises(Killed):
            work()
    steps.allowed = 10**9
    return work()


def spent(one: TaskTrainer) -> list[Any]:
    return [
        one.meter.steps,
        one.meter.samples,
        one.meter.forward_passes,
        one._draws.get_state().tolist(),
    ]


def test_a_killed_training_goes_on_from_its_last_step_and_ends_the_same(
    tmp_path: Path, steps: Steps
) -> None:
    def work(folder: Path | None) -> tuple[list[torch.Tensor], list[Any]]:
        model, one = network(), trainer(folder)
        one.fit(model, 9, phase="search")
        one.fit(model, 4, phase="adapt")
        return state(model), spent(one)

    undisturbed, before = work(None), steps.taken
    again = killed_and_begun_again(lambda: work(tmp_path), steps, [5, 0, 6])
    assert same(again[0], undisturbed[0]) and again[1] == undisturbed[1]
    assert steps.taken - before == 13


@pytest.mark.parametrize(
    "name", ["mosp", "dhp", "assl", "group_lasso", "s_net", "us_net", "autoslim"]
)
def test_a_method_that_is_killed_anywhere_ends_with_the_same_network(
    name: str, tmp_path: Path, steps: Steps
) -> None:
    torch.manual_seed(1)
    model, method = (
        UNet(width=8, levels=3),
        METHODS.get(name)(**({"groups": 2, "crops": 2, "epochs": 4} if name == "autoslim" else {})),
    )
    budget = Budget(int(0.85 * peak_memory(model, (1, 3, 32, 32))), (1, 3, 32, 32))

    def work(folder: Path | None) -> tuple[Any, ...]:
        torch.manual_seed(5)
        one = trainer(folder, pretrain_steps=8)
        pruned = method.prune(model, budget, one)
        return state(pruned.model), pruned.kept, [step.note for step in pruned.trace], spent(one)

    undisturbed, needed = work(None), steps.taken
    again = killed_and_begun_again(lambda: work(tmp_path), steps, [3, needed - 5])
    assert same(again[0], undisturbed[0]) and again[1:] == undisturbed[1:]
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
    assert same(killed_and_begun_again(lambda: work(tmp_path), steps, [3]), undisturbed)


def test_callbacks_that_do_not_say_what_they_carry_are_trained_from_the_start(
    tmp_path: Path, steps: Steps
) -> None:
    draws = Generator().manual_seed(0)

    def work() -> int:
        return trainer(tmp_path).fit(
            network(), 4, phase="search", penalty=lambda _: torch.rand((), generator=draws).sum()
        )

    killed_and_begun_again(work, steps, [3])
    assert steps.taken == 7 and not list(tmp_path.iterdir())


def test_two_trainings_that_begin_alike_and_differ_in_what_they_do_are_two(tmp_path: Path) -> None:
    found = []
    for strength in (0.0, 10.0):
        model, carried = network(), {"strength": strength}
        trainer(tmp_path).fit(
            model,
            3,
            phase="search",
            penalty=lambda net, by=strength: by * net.first.weight.square().sum(),
            callback_state=carried,
        )
        found.append(state(model))
    assert not same(*found)


def test_a_phase_that_a_callback_ended_is_not_gone_on_with(tmp_path: Path, steps: Steps) -> None:
    def work() -> int:
        return trainer(tmp_path).fit(
            network(),
            6,
            phase="search",
            after_step=lambda index, rate: index == 2,
            callback_state={},
        )

    assert [work(), work()] == [3, 3] and steps.taken == 3


def test_a_damaged_checkpoint_is_set_aside_and_the_training_begins_anew(
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
    assert same(work(), first) and steps.taken == 6
    assert "is damaged" in caplog.text and path.with_name(f"{path.name}.damaged").is_file()


def test_one_is_written_when_enough_time_has_passed_and_at_the_end_of_a_training_that_was_no_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**6, 2))
    monkeypatch.setattr(checkpoints, "perf_counter", lambda: next(now))
    written: list[Any] = []
    monkeypatch.setattr(checkpoints.atomic, "write", lambda path, content: written.append(path))
    for every_seconds, steps in ((10**4, 3), (40, 3), (10, 12)):
        one = TaskTrainer(
            FakeTask(), "embedded", RECIPE, 3, checkpoints=Checkpoints(tmp_path, every_seconds)
        )
        one.fit(network(), steps, phase="search")
        written.append(None)
    assert [entry is None for entry in written] == [True, False, True, False, False, False, True]


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_waits_for_the_step_and_keeps_it(tmp_path: Path, steps: Steps) -> None:
    def work(interrupted_at: int) -> list[torch.Tensor]:
        def interrupts(index: int, rate: float) -> None:
            if index == interrupted_at:
                signal.raise_signal(signal.SIGINT)

        model, kept = network(), Checkpoints(tmp_path, every_seconds=1e6)
        one = TaskTrainer(FakeTask(), "embedded", RECIPE, 3, checkpoints=kept)
        one.fit(model, 6, phase="search", after_step=interrupts, callback_state={})
        return state(model)

    with pytest.raises(KeyboardInterrupt):
        work(interrupted_at=3)
    assert steps.taken == 4
    work(interrupted_at=-1)
    assert steps.taken == 6


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "trainings", every_seconds=0)
    TaskTrainer(FakeTask(), "embedded", RECIPE, 3, checkpoints=kept).fit(
        network(), 3, phase="search"
    )
    kept.forget()
    kept.forget()
    assert not (tmp_path / "trainings").exists()


def test_what_another_process_forgets_at_the_same_time_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed_twice(*given: Any, **options: Any) -> None:
        removed(*given, **options)
        raise FileNotFoundError

    removed, kept = os.unlink, Checkpoints(tmp_path / "trainings")
    kept.write_numbers({"loss": 1.0})
    monkeypatch.setattr(os, "unlink", removed_twice)
    kept.forget()
    assert not (tmp_path / "trainings").exists()


def test_what_can_not_be_kept_is_said_before_the_training(tmp_path: Path, steps: Steps) -> None:
    with pytest.raises(
        PluginError, match="must have a state, or be of plain values: Object of type object"
    ):
        trainer(tmp_path).fit(
            network(),
            3,
            phase="search",
            after_step=lambda index, rate: None,
            callback_state={"own": object()},
        )
    assert steps.taken == 0
