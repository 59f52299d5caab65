"""Jobs on many GPUs or many machines, placed by Ray: on a cluster of this machine alone, or on one that is running.

A job works in a temporary folder of its node (bench.runner.executors.remote_job); it is handed the
unpruned network of its cells, and hands back each record with the files that belong to it. This
process alone writes to the store. A job whose worker or node is lost is given out again for the
cells that have no record; what a method keeps to go on from after a kill is lost with its node.
"""

import logging
import os
import socket
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from time import sleep
from typing import Any

from bench.errors import BenchError, ConfigError, PluginError
from bench.files.log import LOG
from bench.records import Record
from bench.runner.executors.remote_job import (
    Message,
    first_cell,
    network_files,
    our_version,
    said_by,
    unpack,
)
from bench.runner.executors.remote_progress import GO_ON
from bench.runner.failures import Attempt
from bench.runner.progress import Progress
from bench.runner.queue import WAITING, Claims
from bench.runner.run import Work
from bench.training.pretrained import pretrained_key

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 10.0
WORKERS_OF_A_JOB = 3  # one more than on one machine: most losses here are no fault of the job
LOOPBACK = "127.0.0.1"


class OnRay:
    """As many jobs at a time as the cluster has room for.

    Args:
        address: "auto" or HOST:PORT of a cluster that is running; None for one on this machine,
            which ends with this process.
        device: on which networks are trained; "auto": on GPUs if the cluster has some.
        threads: CPU cores of a job.
        gpus_per_job: 0.5 lets two jobs share one; by default a whole one where the device is a GPU.
        workers: jobs at a time; by default as many as there is room for.

    Raises:
        ConfigError: Ray is not installed, no cluster answers, or no node of it has room for a job.
    """

    def __init__(
        self,
        address: str | None,
        device: str = "auto",
        threads: int = 1,
        gpus_per_job: float | None = None,
        workers: int | None = None,
    ) -> None:
        _connect(address)
        import ray

        on_gpu = device.startswith("cuda") or (
            device == "auto" and ray.cluster_resources().get("GPU", 0) > 0
        )
        self.device = (
            "cuda" if device == "auto" and on_gpu else "cpu" if device == "auto" else device
        )
        self._needs = {
            "CPU": float(threads),
            "GPU": float(on_gpu) if gpus_per_job is None else gpus_per_job,
        }
        self._asked = workers
        if not self._room():
            found = (
                "; ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in _nodes())
                or "none"
            )
            needs = f"{threads} CPU core(s) and {self._needs['GPU']:g} GPU(s)"
            raise ConfigError(
                f"no node of the Ray cluster has the {needs} that a job takes; found, by node: {found}; see --gpus-per-job"
            )

    @property
    def workers(self) -> int:
        """Jobs at a time."""
        return self._asked or max(1, self._room())

    def run_all(
        self, jobs: Claims[Any], work: Work, progress: Progress
    ) -> Generator[Record, None, None]:
        """The records of all jobs, each as soon as it is there.

        Raises:
            ConfigError: a node has other code or other photographs.
            PluginError: what runs a job broke.
        """
        needs = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs["GPU"]}
        with _Placed(jobs, replace(work, device=self.device), needs) as placed:
            while jobs.left or placed.running:
                while len(placed.running) < self.workers and (job := jobs.take()) is not None:
                    placed.start(Attempt(job, WORKERS_OF_A_JOB))
                for stream in _heard(placed.running, progress):
                    kind, content, files = _next(stream)
                    unpack(files, work.folder)
                    placed.running[stream].hears(kind, content)
                    if kind == "step":
                        progress.step(*content)
                    elif kind == "record":
                        yield content
                    elif kind == "lost":
                        yield from placed.end(stream, *placed.running[stream].lost(content))
                    elif kind == "end":
                        yield from placed.end(stream, None, [])
                for stream in [
                    stream for stream, attempt in placed.running.items() if attempt.is_late
                ]:
                    yield from placed.end(stream, *placed.running[stream].late())

    def _room(self) -> int:
        """How many jobs fit on the nodes that are alive."""
        return sum(
            min(int(node.get(kind, 0) / count) for kind, count in self._needs.items() if count)
            for node in _nodes()
        )


@dataclass
class _Placed:
    """Jobs in the hands of Ray, each with the stream of what it says; whatever ends the run ends them."""

    jobs: Claims[Any]
    work: Work
    needs: Mapping[str, float]
    running: dict[Any, Attempt] = field(default_factory=dict)
    networks: dict[str, Any] = field(
        default_factory=dict
    )  # unpruned ones, as they are handed to every node

    def __enter__(self) -> "_Placed":
        return self

    def start(self, attempt: Attempt) -> None:
        """Places a job."""
        import ray

        key = pretrained_key(first_cell(attempt.job))
        if key not in self.networks:
            self.networks[key] = ray.put(network_files(self.work.folder, key))
        task = ray.remote(said_by).options(num_returns="streaming", max_retries=0, **self.needs)
        self.running[task.remote(attempt.rest, self.work, self.networks[key], our_version())] = (
            attempt
        )

    def end(self, stream: Any, another: Attempt | None, records: list[Record]) -> Iterator[Record]:
        """Of an attempt, with the records that it leaves; another may follow."""
        import ray

        ray.cancel(stream, force=True)
        attempt = self.running.pop(stream)
        yield from records
        if another is None:
            self.jobs.done(attempt.job)
        else:
            LOG.warning("prunebench: a worker was lost; its job is given out again")
            self.start(another)

    def __exit__(self, *_: object) -> None:
        import ray

        for stream in self.running:
            ray.cancel(stream, force=True)


def _nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _connect(address: str | None) -> None:
    """Joins a cluster, or starts one that nobody else can reach. Raises ConfigError."""
    if find_spec("ray") is None:
        raise ConfigError(
            "--executor ray needs Ray, which is not installed: pip install 'prunebench[ray]'"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if (
        address is None
    ):  # it makes Ray listen on the loopback address alone, on every system; read as Ray is imported
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    elif address != "auto":
        _check_answers(address)
    import ray

    if ray.is_initialized():
        return
    here: dict[str, Any] = {
        "include_dashboard": False,
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    }
    try:
        ray.init(
            address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            **(here if address is None else {}),
        )
    except (
        ConnectionError,
        RuntimeError,
        ValueError,
    ) as error:  # nobody there, or another version of Python or Ray
        raise ConfigError(
            f"no Ray cluster to use at {address or 'this machine'}: {error}"
        ) from error
    if address is None and (listens := ray.util.get_node_ip_address()) != LOOPBACK:
        ray.shutdown()
        raise ConfigError(
            f"Ray would be reachable at {listens}; unset RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER, or start a cluster and give --address"
        )


def _check_answers(address: str) -> None:
    """Raises ConfigError at once; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--address {address} is neither auto nor HOST:PORT of a Ray cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at --address {address} ({error}); start one with: ray start --head"
        ) from error


def _heard(running: Mapping[Any, Attempt], progress: Progress) -> list[Any]:
    """A stream that has something to say, or none after a while."""
    import ray

    if running:
        ready: list[Any] = ray.wait(list(running), timeout=LOOK_SECONDS)[0]
        return ready
    progress.working(WAITING)
    sleep(LOOK_SECONDS)
    return []


def _next(stream: Any) -> Message:
    """What a job says next: "step", "record", or, at its end, "end" or "lost".

    Raises what it ended in.
    """
    import ray
    from ray import exceptions as of_ray

    try:
        said: Message = ray.get(next(stream))
        return said
    except StopIteration:
        return "end", "", {}
    except of_ray.RayTaskError as error:
        if isinstance(error.cause, BenchError):
            raise error.cause from error
        if isinstance(error.cause, of_ray.RayError):
            return "lost", _lost(error.cause), {}
        why = f"a job ended early on a node ({error.cause!r}); every node needs this prunebench, installed; {GO_ON}"
        raise PluginError(why) from error
    except (
        of_ray.WorkerCrashedError,
        of_ray.NodeDiedError,
        of_ray.ObjectLostError,
        of_ray.OutOfMemoryError,
    ) as error:
        return "lost", _lost(error), {}
    except of_ray.RayError as error:
        raise PluginError(f"Ray cannot run a job ({error}); {GO_ON}") from error


def _lost(error: Exception) -> str:
    return f"its worker was lost ({type(error).__name__}), for want of memory or for a fault of its machine"
