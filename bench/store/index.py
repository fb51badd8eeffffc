"""Index: the runs of an experiment as a writer knows them, so that it reads them once."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.outcome import Outcome, Result
from bench.store import records
from bench.store.new_runs import NewRun
from bench.store.runs import RunRecord


@dataclass(kw_only=True)
class TrialRun:
    """What is known of a trial's run in MLflow."""

    run_id: str
    text: str  # JSON of the result
    outcome: Outcome
    status: str  # in MLflow: KILLED is a run that a killed driver began

    @classmethod
    def read(cls, run: RunRecord) -> TrialRun:
        """The entry of a run that was read from the store."""
        outcome = Outcome(run.tags[records.OUTCOME])
        return cls(run_id=run.run_id, text=records.result_text(run.tags), outcome=outcome, status=run.status)

    @classmethod
    def written(cls, run_id: str, result: Result, new: NewRun) -> TrialRun:
        """The entry of a run that was written whole."""
        return cls(run_id=run_id, text=records.result_text(new.tags), outcome=result.outcome, status=new.status)

    @property
    def is_ended(self) -> bool:
        return self.status in records.ENDED

    @property
    def is_finished(self) -> bool:
        return self.is_ended and self.outcome.is_result


@dataclass(kw_only=True)
class Index:
    """The runs of an experiment. The driver is the only writer, so that it is read once a start or failure."""

    suite: str  # run id
    methods: dict[str, str] = field(default_factory=dict)  # digest of the MethodKey -> run id
    trials: dict[str, TrialRun] = field(default_factory=dict)  # trial id -> run
