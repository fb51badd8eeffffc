"""ExperimentRecord and RunRecord: a suite and its runs as MLflow holds them, and how they are asked for.

`Reader` is what reads them: through MLflow's client here, from the embedded database in bench.store.embedded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.store import records

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient

_PAGE = 1000  # runs, or experiments, in one answer


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """MLflow's experiment of a suite. is_active: false for one in MLflow's trash."""

    experiment_id: str
    name: str
    artifact_location: str
    is_active: bool
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run, with the last value of each metric. Times are milliseconds since 1970; end_ms is None while it runs."""

    run_id: str
    name: str | None
    status: str
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which runs of an experiment are asked for.

    kind: suite, method or trial; None: any. is_ended: only those that neither run nor were killed. tag: the name of a
    tag that they have, not empty. tags_only: their params and metrics may be left out. tags: names of those that are
    needed, all others may be left out as well; None: all of them.
    """

    kind: str | None = None
    is_ended: bool = False
    tag: str | None = None
    tags_only: bool = False
    tags: tuple[str, ...] | None = None


class Reader(Protocol):
    """Reads experiments and runs; what it raises is in `failures`."""

    def experiment(self, name: str) -> ExperimentRecord | None:
        """The experiment of that name, in the trash or not."""
        ...

    def experiments(self) -> list[ExperimentRecord]:
        """All experiments but those in the trash."""
        ...

    def runs(self, experiment_id: str, wanted: Wanted) -> list[RunRecord]:
        """The runs that are asked for but those in the trash, the latest start first, then by run id."""
        ...


class ClientReader:
    """Reads what any MLflow server or database holds, through MLflow's client."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def experiment(self, name: str) -> ExperimentRecord | None:
        experiment = self._client.get_experiment_by_name(name)
        return None if experiment is None else _experiment_record(experiment)

    def experiments(self) -> list[ExperimentRecord]:
        records, token = list[ExperimentRecord](), None
        while True:
            page = self._client.search_experiments(max_results=_PAGE, page_token=token)
            records.extend(map(_experiment_record, page))
            token = page.token
            if not token:
                return records

    def runs(self, experiment_id: str, wanted: Wanted) -> list[RunRecord]:
        records, token = list[RunRecord](), None
        while True:
            page = self._client.search_runs([experiment_id], _condition(wanted), max_results=_PAGE, page_token=token)
            records.extend(map(_run_record, page))
            token = page.token
            if not token:
                return records


def _condition(wanted: Wanted) -> str:
    """The condition on runs in MLflow's search language."""
    parts = [] if wanted.kind is None else [f"tags.`{records.KIND}` = '{wanted.kind}'"]
    if wanted.is_ended:
        parts += [f"attributes.status != '{status}'" for status in records.NOT_ENDED]
    if wanted.tag is not None:
        parts.append(f"tags.`{wanted.tag}` != ''")
    return " and ".join(parts)


def _experiment_record(experiment: Experiment) -> ExperimentRecord:
    return ExperimentRecord(
        experiment_id=experiment.experiment_id,
        name=experiment.name,
        artifact_location=experiment.artifact_location,
        is_active=experiment.lifecycle_stage == "active",
        tags=experiment.tags,
    )


def _run_record(run: Run) -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        start_ms=run.info.start_time,
        end_ms=run.info.end_time,
        tags=run.data.tags,
        params=run.data.params,
        metrics=run.data.metrics,
    )
