"""RunWriter: what writes experiments and runs.

`ClientWriter` does through MLflow's client, `TableWriter` of bench.store.table_writer into MLflow's tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench.store.runs import ExperimentRecord

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


class Point(NamedTuple):
    """A value of a metric; time_ms since 1970."""

    name: str
    value: float
    time_ms: int
    step: int


class RunWriter(Protocol):
    """Writes experiments and runs, each call whole or not at all; what it raises is in `failures`, or a StoreError.

    Times are milliseconds since 1970.
    """

    def create_experiment(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> None:
        """Makes an experiment; artifact_location None: where the server decides."""
        ...

    def tag_experiment(self, experiment_id: str, name: str, value: str) -> None:
        """Sets one tag of an experiment."""
        ...

    def create_run(self, experiment: ExperimentRecord, *, name: str, tags: Mapping[str, str], start_ms: int) -> str:
        """Id of a new run, which is RUNNING."""
        ...

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Adds values of metrics, params and tags to a run; a tag that it has is replaced."""
        ...

    def remove_tag(self, run_id: str, name: str) -> None:
        """Takes away a tag that the run has."""
        ...

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        """Sets a run's status, and when it ended unless that is None."""
        ...

    def delete_runs(self, run_ids: Collection[str]) -> None:
        """Moves runs to MLflow's trash."""
        ...


class ClientWriter:
    """Writes to any MLflow server or database, through MLflow's client; three calls and 30 to 45 ms a trial's run."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def create_experiment(self, name: str, artifact_location: str | None, tags: Mapping[str, str]) -> None:
        self._client.create_experiment(name, artifact_location=artifact_location, tags=dict(tags))

    def tag_experiment(self, experiment_id: str, name: str, value: str) -> None:
        self._client.set_experiment_tag(experiment_id, name, value)

    def create_run(self, experiment: ExperimentRecord, *, name: str, tags: Mapping[str, str], start_ms: int) -> str:
        run = self._client.create_run(experiment.experiment_id, start_time=start_ms, tags=dict(tags), run_name=name)
        return run.info.run_id

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run_id,
            metrics=[Metric(*point) for point in points],
            params=[Param(name, value) for name, value in (params or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
        )

    def remove_tag(self, run_id: str, name: str) -> None:
        self._client.delete_tag(run_id, name)

    def set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        if end_ms is None:
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status, end_time=end_ms)

    def delete_runs(self, run_ids: Collection[str]) -> None:
        for run_id in run_ids:
            self._client.delete_run(run_id)
