"""MLflow as far as prunebench uses it, in memory, with a fault at the call that a test chooses."""

import posixpath
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Server:
    """What outlives a client.

    Args:
        fault_at: the call that fails, counted from 0; none if below.
        late: it fails after its work was done, as when the answer is lost.
    """

    def __init__(self, fault_at: int = -1, late: bool = False) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.experiments: dict[str, str] = {}
        self.calls, self.fault_at, self.late = 0, fault_at, late

    def __call__(self, tracking_uri: str) -> "Client":
        return Client(self)

    def children(self) -> list[SimpleNamespace]:
        """The runs of records."""
        return [run for run in self.runs.values() if "mlflow.parentRunId" in run.data.tags]


class Client:
    """`mlflow.MlflowClient`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        return found if name.startswith("_") else self._counted(found)

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            server, now = self._server, self._server.calls
            server.calls += 1
            if now == server.fault_at and not server.late:
                raise ConnectionError("the server\nis away")
            done = call(*args, **named)
            if now == server.fault_at:
                raise ConnectionError("the answer is lost")
            return done

        return counted

    def get_experiment_by_name(self, name: str) -> Any:
        found = self._server.experiments.get(name)
        return found and SimpleNamespace(experiment_id=found)

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
        """Pages of two; a condition is tags.`NAME` = 'VALUE' or tags.`NAME` != ''."""
        _, name, rest = condition.split("`")
        wanted = rest.strip(" =!'")
        met = [
            run
            for run in self._server.runs.values()
            if name in run.data.tags and wanted in ("", run.data.tags[name])
        ]
        return Page(
            met[page_token : page_token + 2], page_token + 2 if page_token + 2 < len(met) else None
        )

    def log_batch(self, run: str, params: list[Any], metrics: list[Any], tags: list[Any]) -> None:
        """Params cannot change."""
        data = self._server.runs[run].data
        if any(data.params.get(one.key, one.value) != one.value for one in params):
            raise ValueError("changing param values is not allowed")
        data.params |= {one.key: one.value for one in params}
        data.metrics |= {one.key: one.value for one in metrics}
        data.tags |= {one.key: one.value for one in tags}

    def set_tag(self, run: str, name: str, value: str) -> None:
        self._server.runs[run].data.tags[name] = value

    def log_dict(self, run: str, content: dict[str, Any], place: str) -> None:
        self._server.runs[run].artifacts[place] = content

    def log_text(self, run: str, content: str, place: str) -> None:
        self._server.runs[run].artifacts[place] = content

    def log_artifact(self, run: str, path: str, place: str = "") -> None:
        self._server.runs[run].artifacts[posixpath.join(place, Path(path).name)] = Path(
            path
        ).read_bytes()

    def log_artifacts(self, run: str, folder: str, place: str) -> None:
        self._server.runs[run].artifacts |= {
            f"{place}/{path.name}": path.read_bytes() for path in Path(folder).iterdir()
        }

    def set_terminated(self, run: str, status: str = "FINISHED") -> None:
        self._server.runs[run].info.status = status


class Page(list[Any]):
    """Some runs, and where the next ones begin."""

    def __init__(self, runs: list[Any], token: int | None) -> None:
        super().__init__(runs)
        self.token = token
