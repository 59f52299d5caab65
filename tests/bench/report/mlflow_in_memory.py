"""A stand-in for MLflow in memory, with a fault at the call that a test chooses."""

import posixpath
from collections.abc import Callable, Sequence
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
        self.experiments: dict[str, SimpleNamespace] = {}
        self.models: dict[str, SimpleNamespace] = {}
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
        return self._server.experiments.get(name)

    def create_experiment(self, name: str, artifacts: str | None, tags: dict[str, str]) -> str:
        experiment = SimpleNamespace(experiment_id="e", tags=tags)
        return str(self._server.experiments.setdefault(name, experiment).experiment_id)

    def create_run(self, experiment: str, start_time: int | None, tags: dict[str, str]) -> Any:
        name = f"run{self._server.calls}"
        data = SimpleNamespace(tags=dict(tags), params={}, metrics={})
        self._server.runs[name] = SimpleNamespace(
            info=SimpleNamespace(run_id=name, status="RUNNING", start_time=start_time or 0),
            data=data,
            inputs=[],
            outputs=SimpleNamespace(model_outputs=[]),
            artifacts={},
        )
        return self._server.runs[name]

    def get_run(self, run: str) -> Any:
        return self._server.runs[run]

    def search_runs(
        self, experiments: list[str], condition: str, max_results: int, page_token: int | None
    ) -> Any:
        """Return pages of two; a condition is tags.`NAME` = 'VALUE' or tags.`NAME` != ''."""
        _, name, comparison = condition.split("`")
        value = comparison.strip(" =!'")
        matches = [
            run
            for run in self._server.runs.values()
            if name in run.data.tags and value in ("", run.data.tags[name])
        ]
        start = page_token or 0
        end = start + 2
        return Page(matches[start:end], end if end < len(matches) else None)

    def log_batch(
        self, run: str, metrics: Any = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()
    ) -> None:
        """Log values; params cannot change."""
        data = self._server.runs[run].data
        if any(data.params.get(param.key, param.value) != param.value for param in params):
            raise ValueError("changing param values is not allowed")
        data.params |= {param.key: param.value for param in params}
        data.metrics |= {(metric.key, metric.step): metric.value for metric in metrics}
        data.tags |= {tag.key: tag.value for tag in tags}

    def log_inputs(self, run: str, datasets: list[Any]) -> None:
        """Log each name and digest once."""
        names = [(entry.dataset.name, entry.dataset.digest) for entry in datasets]
        inputs = self._server.runs[run].inputs
        inputs += [name for name in names if name not in inputs]

    def create_logged_model(
        self, experiment: str, name: str, source_run_id: str, params: dict[str, str]
    ) -> Any:
        key = f"m-{self._server.calls}"
        self._server.models[key] = SimpleNamespace(
            model_id=key, name=name, run=source_run_id, params=params, files=set(), status="PENDING"
        )
        return self._server.models[key]

    def search_logged_models(self, experiments: list[str], condition: str) -> list[Any]:
        """A condition is source_run_id = 'RUN'."""
        run = condition.split("'")[1]
        return [model for model in self._server.models.values() if model.run == run]

    def log_outputs(self, run: str, models: list[Any]) -> None:
        """Log outputs; MLflow would log one again."""
        self._server.runs[run].outputs.model_outputs += models

    def log_model_artifacts(self, model: str, folder: str) -> None:
        self._server.models[model].files |= {
            path.name for path in Path(folder).rglob("*") if path.is_file()
        }

    def finalize_logged_model(self, model: str, status: str) -> None:
        self._server.models[model].status = status

    def set_tag(self, run: str, name: str, value: str) -> None:
        self._server.runs[run].data.tags[name] = value

    def log_dict(self, run: str, content: dict[str, Any], path: str) -> None:
        self._server.runs[run].artifacts[path] = content

    def log_text(self, run: str, content: str, path: str) -> None:
        self._server.runs[run].artifacts[path] = content

    def log_artifact(self, run: str, path: str, target: str = "") -> None:
        name = posixpath.join(target, Path(path).name)
        self._server.runs[run].artifacts[name] = Path(path).read_bytes()

    def set_terminated(
        self, run: str, status: str = "FINISHED", end_time: int | None = None
    ) -> None:
        self._server.runs[run].info.status = status


class Page(list[Any]):
    """A page of runs, and the token of the next page."""

    def __init__(self, runs: list[Any], token: int | None) -> None:
        super().__init__(runs)
        self.token = token
