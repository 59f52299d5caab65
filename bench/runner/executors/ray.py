"""Jobs on many GPUs or machines, placed by Ray: on a cluster of this machine or on a running one.

A job works in a temporary folder of its node (bench.runner.executors.remote_job); it gets the
unpruned network of its cells, and sends back each record with its files. This process alone writes
to the store. A job whose worker or node is lost is started again for the cells without a record;
its checkpoints are lost with its node.
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
    prunebench_version,
    run_remotely,
    unpack,
)
from bench.runner.executors.remote_progress import RESUME_HINT, replay
from bench.runner.failures import Attempt
from bench.runner.progress import Progress
from bench.runner.queue import WAITING, JobQueue
from bench.runner.run import JobRunner
from bench.training.pretrained import pretrained_key

POLL_SECONDS = 1.0
CONNECT_SECONDS = 10.0
MAX_ATTEMPTS = 3  # one more than on one machine: most losses here are no fault of the job
LOOPBACK = "127.0.0.1"
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class RayExecutor:
    """Runs as many jobs at a time as the cluster has room for.

    Args:
        address: "auto" or HOST:PORT of a running cluster; None for one on this machine, which ends
            with this process.
        device: where networks are trained; "auto": on GPUs if the cluster has some.
        threads: CPU cores of a job.
        gpus_per_job: 0.5 lets two jobs share a GPU; by default a whole one where the device is a
            GPU.
        workers: jobs at a time; by default as many as the cluster has room for.

    Raises:
        ConfigError: Ray is not installed, no cluster answers, or none of its nodes has room for a
            job.
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

        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU", 0) > 0 else "cpu"
        self.device = device
        gpus = float(device.startswith("cuda")) if gpus_per_job is None else gpus_per_job
        self._needs = {"CPU": float(threads), "GPU": gpus}
        self._workers = workers
        if not self._capacity():
            nodes = [
                f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in _alive_nodes()
            ]
            raise ConfigError(
                f"no node of the Ray cluster has the {threads} CPU core(s) and {gpus:g} GPU(s) "
                f"that a job needs; the nodes have: {'; '.join(nodes) or 'none'}; "
                "see --gpus-per-job"
            )

    @property
    def workers(self) -> int:
        """The number of jobs at a time."""
        return self._workers or max(1, self._capacity())

    def run_all(
        self, queue: JobQueue[Any], runner: JobRunner, progress: Progress
    ) -> Generator[Record, None, None]:
        """Yield the records of all jobs, each as soon as it is made.

        Raises:
            ConfigError: a node has other code or other photographs.
            PluginError: Ray cannot run a job, or the job raised an error that is not a row.
        """
        needs = {"num_cpus": self._needs["CPU"], "num_gpus": self._needs["GPU"]}
        with _RunningJobs(queue, replace(runner, device=self.device), needs) as running:
            attempts = running.attempts
            while queue.waiting_count or attempts:
                while len(attempts) < self.workers and (job := queue.take()) is not None:
                    running.start(Attempt(job, MAX_ATTEMPTS))
                for stream in _ready_streams(attempts, progress):
                    kind, content, files = _next_message(stream)
                    unpack(files, runner.folder)
                    attempts[stream].update(kind, content)
                    listener = progress.at_job(attempts[stream].job.key)
                    replay(kind, content, listener)
                    if kind in ("lost", "end"):
                        listener.on_work("")
                    if kind == "record":
                        yield content
                    elif kind == "lost":
                        yield from running.end(stream, *attempts[stream].after_loss(content))
                    elif kind == "end":
                        yield from running.end(stream, None, [])
                overdue = [stream for stream, attempt in attempts.items() if attempt.is_overdue]
                for stream in overdue:
                    progress.at_job(attempts[stream].job.key).on_work("")
                    yield from running.end(stream, *attempts[stream].after_timeout())

    def _capacity(self) -> int:
        """Return how many jobs fit on the nodes that are alive."""
        return sum(
            min(int(node.get(kind, 0) / count) for kind, count in self._needs.items() if count)
            for node in _alive_nodes()
        )


@dataclass
class _RunningJobs:
    """Jobs that Ray is running, each with the stream of its messages; cancelled with the run."""

    queue: JobQueue[Any]
    runner: JobRunner
    needs: Mapping[str, float]
    attempts: dict[Any, Attempt] = field(default_factory=dict)  # stream -> attempt
    networks: dict[str, Any] = field(default_factory=dict)  # key -> files in Ray's object store

    def __enter__(self) -> "_RunningJobs":
        return self

    def start(self, attempt: Attempt) -> None:
        """Give a job to Ray."""
        import ray

        key = pretrained_key(first_cell(attempt.job))
        if key not in self.networks:
            self.networks[key] = ray.put(network_files(self.runner.folder, key))
        function = ray.remote(run_remotely).options(
            num_returns="streaming", max_retries=0, **self.needs
        )
        stream = function.remote(
            attempt.remaining_job, self.runner, self.networks[key], prunebench_version()
        )
        self.attempts[stream] = attempt

    def end(
        self, stream: Any, next_attempt: Attempt | None, records: list[Record]
    ) -> Iterator[Record]:
        """End an attempt, yield the records that it leaves, and start the next one, if any."""
        import ray

        ray.cancel(stream, force=True)
        attempt = self.attempts.pop(stream)
        yield from records
        if next_attempt is None:
            self.queue.mark_done(attempt.job)
        else:
            LOG.warning(
                "prunebench: a job lost its worker or overran a time limit; "
                "it is started again for the remaining cells"
            )
            self.start(next_attempt)

    def __exit__(self, *_: object) -> None:
        import ray

        for stream in self.attempts:
            ray.cancel(stream, force=True)


def _alive_nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _connect(address: str | None) -> None:
    """Join a cluster, or start one that only this machine can reach. Raises ConfigError."""
    if find_spec("ray") is None:
        raise ConfigError(
            "--executor ray needs Ray, which is not installed: pip install 'prunebench[ray]'"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Set before Ray is imported, it makes Ray listen on the loopback address only.
        os.environ.setdefault(LOOPBACK_VARIABLE, "0")
    elif address != "auto":
        _check_reachable(address)
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {}
    if address is None:
        search_path = os.pathsep.join(filter(None, sys.path))
        options["include_dashboard"] = False
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": search_path}}
    try:
        ray.init(address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        # No cluster answers, or it has another version of Python or Ray.
        raise ConfigError(
            f"no Ray cluster to use at {address or 'this machine'}: {error}"
        ) from error
    if address is None and (reachable_at := ray.util.get_node_ip_address()) != LOOPBACK:
        ray.shutdown()
        raise ConfigError(
            f"Ray would be reachable at {reachable_at}; unset {LOOPBACK_VARIABLE}, "
            "or start a cluster and give --address"
        )


def _check_reachable(address: str) -> None:
    """Raise ConfigError at once if no cluster answers; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--address {address} is neither auto nor HOST:PORT of a Ray cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at --address {address} ({error}); "
            "start one with: ray start --head"
        ) from error


def _ready_streams(attempts: Mapping[Any, Attempt], progress: Progress) -> list[Any]:
    """Wait for a stream with a message; return none after POLL_SECONDS."""
    import ray

    if attempts:
        ready: list[Any] = ray.wait(list(attempts), timeout=POLL_SECONDS)[0]
        return ready
    progress.on_work(WAITING)
    sleep(POLL_SECONDS)
    return []


def _next_message(stream: Any) -> Message:
    """Return the next message of a job; its last one is "end" or "lost".

    Raises the error that the job ended in.
    """
    import ray
    from ray import exceptions

    try:
        message: Message = ray.get(next(stream))
        return message
    except StopIteration:
        return "end", "", {}
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, BenchError):
            raise error.cause from error
        if isinstance(error.cause, exceptions.RayError):
            return "lost", _describe_loss(error.cause), {}
        raise PluginError(
            f"a job ended early on a node ({error.cause!r}); "
            f"every node needs this prunebench, installed; {RESUME_HINT}"
        ) from error
    except (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
    ) as error:
        return "lost", _describe_loss(error), {}
    except exceptions.RayError as error:
        raise PluginError(f"Ray cannot run a job ({error}); {RESUME_HINT}") from error


def _describe_loss(error: Exception) -> str:
    return (
        f"its worker was lost ({type(error).__name__}), perhaps because memory ran out "
        "or its machine failed"
    )
