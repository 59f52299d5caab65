"""A stand-in for MLflow in memory, with a fault at the call that a test chooses."""

import posixpath
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Server:
    """The state that all clients share.

    Args:
        fault_at: index of the call that fails; none if it is negative.
        late: the call fails after its work, as when a response is lost.
    """

    def __init__(self, fault_at: int = -1, late: bool = False) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.experiments: dict[str, str] = {}
        self.calls, self.fault_at, self.late = 0, fault_at, late

    def __call__(self, tracking_uri: str) -> "Client":
        return Client(self)

    def children(self) -> list[SimpleNamespace]:
        """Return the runs of records."""
        return [run for run in self.runs.values() if "mlflow.parentRunId" in run.data.tags]


class Client:
    """The methods of `mlflow.MlflowClient` that prunebench uses."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __getattribute__(self, name: str) -> Any:
        attribute = object.__getattribute__(self, name)
        return attribute if name.startswith("_") else self._count_calls(attribute)

    def _count_calls(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            server = self._server
            index = server.calls
            server.calls += 1
            if index == server.fault_at and not server.late:
                raise ConnectionError("the server\nis away")
            result = method(*args, **named)
            if index == server.fault_at:
                raise ConnectionError("the answer is lost")
            return result

        return call

    def get_experiment_by_name(self, name: str) -> Any:
        experiment = self._server.experiments.get(name)
        return experiment and SimpleNamespace(experiment_id=experiment)

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
        return self._server.experiments.setdefault(name, f"e{len(self._server.experiments)}")

    def create_run(self, experiment: str, tags: dict[str, str]) -> Any:
        name = f"run{self._server.calls}"
        data = SimpleNamespace(tags=dict(tags), params={}, metrics={})
        self._server.runs[name] = SimpleNamespace(
            info=SimpleNamespace(run_id=name, status="RUNNING"), data=data, artifacts={}
        )
        return self._server.runs[name]

    def search_runs(
        self, experiments: list[str], condition: str, max_results: int, page_token: int = 0
    ) -> Any:
        """Return pages of two; a condition is tags.`NAME` = 'VALUE' or tags.`NAME` != ''."""
        _, name, comparison = condition.split("`")
        value = comparison.strip(" =!'")
        matches = [
            run
            for run in self._server.runs.values()
            if name in run.data.tags and value in ("", run.data.tags[name])
        ]
        end = page_token + 2
        return Page(matches[page_token:end], end if end < len(matches) else None)

    def log_batch(self, run: str, params: list[Any], metrics: list[Any], tags: list[Any]) -> None:
        """Log values; params cannot change."""
        data = self._server.runs[run].data
        if any(data.params.get(param.key, param.value) != param.value for param in params):
            raise ValueError("changing param values is not allowed")
        data.params |= {param.key: param.value for param in params}
        data.metrics |= {metric.key: metric.value for metric in metrics}
        data.tags |= {tag.key: tag.value for tag in tags}

    def set_tag(self, run: str, name: str, value: str) -> None:
        self._server.runs[run].data.tags[name] = value

    def log_dict(self, run: str, content: dict[str, Any], path: str) -> None:
        self._server.runs[run].artifacts[path] = content

    def log_text(self, run: str, content: str, path: str) -> None:
        self._server.runs[run].artifacts[path] = content

    def log_artifact(self, run: str, path: str, target: str = "") -> None:
        name = posixpath.join(target, Path(path).name)
        self._server.runs[run].artifacts[name] = Path(path).read_bytes()

    def log_artifacts(self, run: str, folder: str, target: str) -> None:
        self._server.runs[run].artifacts |= {
            f"{target}/{path.name}": path.read_bytes() for path in Path(folder).iterdir()
        }

    def set_terminated(self, run: str, status: str = "FINISHED") -> None:
        self._server.runs[run].info.status = status


class Page(list[Any]):
    """A page of runs, and the token of the next page."""

    def __init__(self, runs: list[Any], token: int | None) -> None:
        super().__init__(runs)
        self.token = token
