"""The runs of a study in MLflow: one for the study, with a nested one for each record.

Every run has its key from the start, so that a copy that was interrupted is found and completed.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.files import atomic
from bench.records import NOT_IN_KEY, Cell, Record
from bench.report.mlflow_model import find_model, log_network, register
from bench.report.mlflow_state import check_intact, remove_quoted_folder, sqlite_path, sqlite_uri
from bench.report.mlflow_values import (
    MAX_DIGEST_LENGTH,
    Point,
    cell_params,
    common_params,
    curve_points,
    data_splits,
    describe_result,
    describe_run,
    headline_points,
    record_metrics,
    time_span,
    user_name,
)
from bench.study.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "prunebench"
# Without it, MLflow opens an experiment in the view for language models.
MODEL_TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}
TAG_KEY = "prunebench.key"
TAG_STATUS = "prunebench.status"
TAG_STUDY = "prunebench.study"
TAG_FOLDER = "prunebench.folder"
TAG_PARENT = "mlflow.parentRunId"
TAG_NAME = "mlflow.runName"
TAG_DESCRIPTION = "mlflow.note.content"
TAG_LOGGED_ARTIFACTS = "mlflow.loggedArtifacts"
ENTRIES_PER_CALL = 1000  # metrics, params and tags together: MLflow's limit
FORMATS = ("md", "csv", "tex")
TABLE = "table.json"
PROJECT = Path(__file__).parents[2]


class StudyRuns:
    """The runs of one study.

    Args:
        store: of the study.
        uri: of the tracking server or database, which is created if it is a sqlite file.
        parent: id of the study's run if it is known.
        study: name of the study; by default that of the store.

    Attributes:
        client: of MLflow.
        experiment: id of the experiment.
        parent: id of the study's run.
        children: key of a record -> id of its run.
    """

    def __init__(self, store: Store, uri: str, parent: str | None, study: str = "") -> None:
        from mlflow import MlflowClient

        self._store = store
        _create_database(uri)
        self.client = MlflowClient(tracking_uri=uri)
        self.experiment = _find_experiment(self.client, uri)
        self.parent = self._find_parent(study or store.name(), parent)
        self.children = self._find_children()

    def _search(self, condition: str) -> list[Any]:
        """Return all runs of the experiment that meet a condition, from all pages."""
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], condition, max_results=1000, page_token=token
            )
            found.extend(page)
            token = page.token
            if not token:
                return found

    def _find_parent(self, study: str, known: str | None) -> str:
        """Return the run id of the study.

        It is the known one, else one with this name and folder, else a new one, which began when
        the study was written or its first record was begun.
        """
        path = str(self._store.folder.resolve())
        runs = [
            run
            for run in self._search(f"tags.`{TAG_FOLDER}` != ''")
            if run.data.tags.get(TAG_STUDY) == study
        ]
        matches = [run for run in runs if run.info.run_id == known] or [
            run for run in runs if run.data.tags[TAG_FOLDER] == path
        ]
        if matches:
            return str(matches[0].info.run_id)
        starts = [time_span(self._store, record)[0] for record in self._store.records()]
        file = self._store.folder / "study.json"
        if file.is_file():
            starts.append(int(1000 * file.stat().st_mtime))
        tags = {TAG_NAME: study, TAG_STUDY: study, TAG_FOLDER: path} | self._source_tags()
        run = self.client.create_run(self.experiment, min(starts, default=None), tags)
        return str(run.info.run_id)

    def _find_children(self) -> dict[str, str]:
        """Return key -> run id of the nested runs."""
        runs = self._search(f"tags.`{TAG_PARENT}` = '{self.parent}'")
        return {run.data.tags[TAG_KEY]: run.info.run_id for run in runs if TAG_KEY in run.data.tags}

    def _source_tags(self) -> dict[str, str]:
        """Return who ran what: user, command, and commit of the project if it is a checkout."""
        commit = _find_commit()
        return {
            "mlflow.user": user_name(),
            "mlflow.source.name": EXPERIMENT,
            "prunebench.command": self._store.command(),
            "mlflow.source.type": "LOCAL",
        } | ({"mlflow.source.git.commit": commit} if commit else {})

    def log_record(self, record: Record) -> str:
        """Log a record as a nested run; return its id.

        It has params, metrics, learning curves, data sets, the network, and the whole record.
        """
        from mlflow.entities import Param, RunTag

        client, cell = self.client, record.cell
        start, end = time_span(self._store, record)
        run = self.children.get(record.key)
        if run is None:
            tags = {TAG_PARENT: self.parent, TAG_KEY: record.key}
            run = str(client.create_run(self.experiment, start, tags).info.run_id)
            self.children[record.key] = run
        network = self._store.model_folder(record.key)
        model = (
            log_network(client, self.experiment, run, record, network) if network.is_dir() else None
        )
        tags = self._source_tags() | {
            TAG_NAME: describe_run(cell),
            TAG_STATUS: record.status,
            TAG_DESCRIPTION: describe_result(record),
        }
        tags |= {f"prunebench.{name}": getattr(cell, name) for name in NOT_IN_KEY}
        numbers = [Point(name, value) for name, value in record_metrics(record).items()]
        metrics = _to_metrics(numbers, end, model) + _to_metrics(curve_points(record), end)
        params = [Param(name, value) for name, value in cell_params(cell).items()]
        run_tags = [RunTag(name, value) for name, value in tags.items() if value]
        first = ENTRIES_PER_CALL - len(params) - len(run_tags)
        client.log_batch(run, metrics[:first], params, run_tags)
        self._log_metrics(run, metrics[first:])
        client.log_inputs(run, _dataset_inputs(record))
        client.log_dict(run, record.to_json(), "record.json")
        client.set_terminated(run, "FAILED" if record.status == "failed" else "FINISHED", end)
        return run

    def _log_metrics(self, run: str, metrics: Sequence[Any]) -> None:
        """Log metrics; those that are there already with the same time stay single."""
        for first in range(0, len(metrics), ENTRIES_PER_CALL):
            self.client.log_batch(run, metrics=metrics[first : first + ENTRIES_PER_CALL])

    def register(self, record: Record, name: str) -> tuple[int, bool]:
        """Register the network of a record; return its version and whether that is new."""
        run = self.children.get(record.key, "")
        model = find_model(self.client, self.experiment, run)
        if model is None:  # an older program has copied the record
            run = self.log_record(record)
            model = find_model(self.client, self.experiment, run)
        return register(self.client, run, model, name)

    def log_study(self, records: Sequence[Record], cells: Sequence[Cell]) -> None:
        """Log the params that all rows share, PSNR by budget, table, figures and page."""
        from mlflow.entities import Param

        from bench.report.page import write_page
        from bench.report.results import collect_results, read_results
        from bench.report.table import render_table
        from bench.report.write_report import PAGE, select_figures

        client, parent = self.client, self.parent
        results = collect_results(records, cells)
        end = max(time_span(self._store, record)[1] for record in records)
        run = client.get_run(parent)
        present = run.data.params  # cannot change
        params = common_params(record.cell for record in records)
        new = [Param(name, value) for name, value in params.items() if name not in present]
        client.log_batch(parent, params=new)
        # At a time that stays: a point that a later copy repeats stays single.
        self._log_metrics(parent, _to_metrics(headline_points(results), run.info.start_time))
        for fmt in FORMATS:
            client.log_text(parent, render_table(results, fmt) + "\n", f"table.{fmt}")
        self._log_table(results.rows)
        stored = read_results(self._store)
        with TemporaryDirectory() as scratch:
            for name, draw in select_figures(self._store, stored).items():
                client.log_artifact(parent, str(draw(Path(scratch) / f"{name}.png")), "figures")
            page = write_page(self._store, stored, Path(scratch) / PAGE)
            client.log_artifact(parent, str(page))
        client.set_terminated(parent, end_time=end)

    def _log_table(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log rows for `mlflow.load_table`, in its format.

        The client's own `log_table` would append to a table that an earlier, interrupted call left.
        """
        content = [
            [json.dumps(value) if isinstance(value, dict | list) else value for value in entries]
            for entries in (row.values() for row in rows)
        ]
        self.client.log_dict(self.parent, {"columns": list(rows[0]), "data": content}, TABLE)
        tables = json.dumps([{"path": TABLE, "type": "table"}])
        self.client.set_tag(self.parent, TAG_LOGGED_ARTIFACTS, tables)


def _create_database(uri: str) -> None:
    """Create a sqlite file with all its tables, or nothing; raise DiskError if it is damaged.

    A database whose creation was interrupted can never be used again.
    """
    from mlflow import MlflowClient

    file = sqlite_path(uri)
    if file is None:
        return
    if file.exists():
        check_intact(file)
        return
    with TemporaryDirectory() as folder:
        draft = Path(folder) / file.name
        MlflowClient(tracking_uri=sqlite_uri(draft)).search_experiments()
        remove_quoted_folder(sqlite_uri(draft))
        atomic.write(file, draft.read_bytes())


def _find_experiment(client: "MlflowClient", uri: str) -> str:
    """Return the id of the experiment; create it if there is none.

    The artifacts of a sqlite file lie beside the file; elsewhere the server decides.
    """
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        file = sqlite_path(uri)
        artifacts = (file.resolve().parent / "mlflow_artifacts").as_uri() if file else None
        return str(client.create_experiment(EXPERIMENT, artifacts, MODEL_TRAINING_VIEW))
    for name, value in MODEL_TRAINING_VIEW.items():
        if name not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, name, value)
    return str(experiment.experiment_id)


@cache
def _find_commit() -> str | None:
    """Return the git commit of the project; None if it is not a checkout."""
    from mlflow.utils.git_utils import get_git_commit

    return get_git_commit(str(PROJECT)) if (PROJECT / ".git").exists() else None


def _to_metrics(points: Sequence[Point], time_ms: int, model: str | None = None) -> list[Any]:
    """Return points as metrics of a run, and of its model if that is given."""
    from mlflow.entities import Metric

    return [
        Metric(point.name, point.value, time_ms, point.step, model_id=model) for point in points
    ]


def _dataset_inputs(record: Record) -> list[Any]:
    """Return the data sets of a record as MLflow takes them.

    Each part has a name of its own: MLflow logs a name and digest once for a run.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    cell = record.cell
    return [
        DatasetInput(
            Dataset(
                name=split.name,
                digest=cell.data_fingerprint[:MAX_DIGEST_LENGTH],
                source_type="local",
                source=json.dumps({"uri": cell.data}),
                profile=json.dumps({"photographs": split.photographs})
                if split.photographs
                else None,
            ),
            [InputTag("mlflow.data.context", split.context)],
        )
        for split in data_splits(record)
    ]
