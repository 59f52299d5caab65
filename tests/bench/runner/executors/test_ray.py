"""Jobs on Ray: two nodes on which workers and nodes are lost; messages without a cluster."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ConfigError
from bench.plugins import registry
from bench.runner.executors.ray import RayExecutor
from bench.runner.executors.serial import SerialExecutor
from bench.runner.run import run_study
from bench.study.store import Store
from tests.bench.runner.executors.test_remote_job import are_equal

MORTAL = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from bench.plugins.registry import method
from tests.fakes import Narrow

@method("mortal")
@dataclass(frozen=True)
class Mortal(Narrow):
    marks: str = ""
    end: str = ""
    lives: int = 1

    def prune(self, model, budget, trainer=None):
        done = super().prune(model, budget, trainer)
        deaths = len(list(Path(self.marks).glob(f"{self.end}*")))
        if budget.peak_bytes < 24000 and deaths < self.lives:
            Path(self.marks, f"{self.end}{deaths}").touch()
            node = os.getppid()  # the parent of a worker
            os.kill(os.getpid() if self.end == "worker" else node, signal.SIGKILL)
            signal.pause()
        return done
"""
ROW = "{{method='mortal', label='{0} {1}', train_steps=2, marks='{2}', end='{0}', lives={1}}}"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nowhere", "neither auto nor HOST:PORT"),
        ("127.0.0.1:1", "no Ray cluster answers at --address 127.0.0.1:1"),
    ],
)
def test_an_address_without_a_cluster_is_a_sentence(address: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RayExecutor(address)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runner.executors.ray.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'prunebench\[ray\]'"):
        RayExecutor(None)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a head without cores, which survives, and two nodes with one core each, on loopback."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    import ray
    from ray.cluster_utils import Cluster

    nodes = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=nodes | {"num_cpus": 0})
    cluster.workers = [cluster.add_node(**nodes) for _ in range(2)]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_a_study_survives_a_killed_worker_and_a_lost_node(
    cluster: Any, study, tmp_path: Path
) -> None:
    plugin = tmp_path / "mortal.py"
    marks = tmp_path / "marks"
    plugin.write_text(MORTAL)
    marks.mkdir()
    registry.load_plugin(plugin)
    rows = ", ".join(ROW.format(end, lives, marks) for end, lives in (("worker", 1), ("node", 1)))
    killing_study = study(f"methods=['unpruned', {rows}]", "ratios=[0.5, 0.75]")
    executor = RayExecutor(cluster.address)
    assert executor.workers == 2
    on_ray = run_study(killing_study, Store(tmp_path / "ray"), executor)
    assert len(list(marks.iterdir())) == 2
    serial = run_study(killing_study, Store(tmp_path / "serial"), SerialExecutor())
    for record, expected in zip(on_ray, serial, strict=True):
        assert are_equal(record, expected)
