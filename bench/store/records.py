"""How a trial is written in MLflow: names, tags, params and metrics. Pure functions; nothing here talks to MLflow.

The exact result is the JSON in the tags bench.result, bench.result.1, ...; everything else is for people and the UI.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import StoreError
from bench.lazy import polars
from bench.outcome import Result
from bench.trial import canonical_json, import_name

# Of what tags and artifacts of a suite hold; on its experiment and every run of it. Raised whenever an older program
# would misread what is written. 1: before there was this tag, without checksums of traces.
SCHEMA_VERSION = 2
SCHEMA = "bench.schema"

MANIFEST_VERSION = 2  # 1: without version, seeds, data and determinism; what is written, and the latest that is read

KIND = "bench.kind"
TRIAL_ID = "bench.trial_id"
METHOD_KEY = "bench.method_key"
OUTCOME = "bench.outcome"
RESULT = "bench.result"
IMPORTED = "bench.imported"  # on the runs of imported trials: the name of the import
IMPORT = "bench.import."  # and that name; on the suite run: JSON, what was imported
LOSSES = ("Final loss", "Loss at init")  # of a trial, for people: tags of three digits; metrics keep all digits
TRACE = "bench.trace"  # name of the trace's artifact; no tag if there is no trace
TRACE_SHA256 = "bench.trace_sha256"  # of that file, since schema 2
PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
CLASSIC = {"workflowType": "machine_learning"}  # of links to MLflow's UI; without it pages open among LLM traces
LABELS = ("bench.workload", "bench.method", "bench.optimizer")  # of a method run, and of all of them on the suite run

ENDED = ("FINISHED", "FAILED")  # status of runs that hold a trial whole: with a result, or lost
NOT_ENDED = ("RUNNING", "KILLED")  # of those that a driver began, and did not or will not fill

MAX_NAME = 250  # letters of a run's name, in MLflow's database
MAX_TAG = 8000  # longer ones are cut by MLflow without a word, as are params
_MAX_PARAM = 6000


@dataclass(frozen=True, kw_only=True)
class MethodKey:
    """What one method run stands for: a line of the leaderboard. Fields are labels."""

    workload: str
    method: str
    optimizer: str

    @classmethod
    def of(cls, result: Result) -> MethodKey:
        trial = result.trial
        return cls(workload=trial.workload.label, method=trial.method.label, optimizer=trial.optimizer.label)

    @classmethod
    def of_text(cls, text: str) -> MethodKey:
        """The key of the method run that a result, as JSON text of any version, belongs to."""
        trial = json.loads(text)["trial"]
        return cls(**{field.name: trial[field.name]["label"] for field in dataclasses.fields(cls)})

    @property
    def digest(self) -> str:
        return hashlib.sha256(canonical_json(dataclasses.asdict(self)).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        return storable(f"{self.method} | {self.workload} | {self.optimizer}", MAX_NAME)

    def tags(self) -> dict[str, str]:
        labels = {f"bench.{name}": storable(label, MAX_TAG) for name, label in dataclasses.asdict(self).items()}
        return {KIND: "method", SCHEMA: str(SCHEMA_VERSION), METHOD_KEY: self.digest, **labels}


def check_schema(tags: Mapping[str, str], what: str) -> None:
    """Raises StoreError if a suite or run was written by a later program."""
    version = tags.get(SCHEMA, "1")
    if not version.isdecimal() or int(version) > SCHEMA_VERSION:
        raise StoreError(f"{what} is of schema {version[:20]}, this program reads up to {SCHEMA_VERSION}; update bench")


def is_kind(tags: Mapping[str, str], kind: str) -> bool:
    """Whether tags are of a run of this kind: suite, method or trial."""
    return tags.get(KIND) == kind


def board_metrics_names(board: polars.DataFrame) -> list[str]:
    """The columns of a leaderboard that are metrics of its method runs."""
    return [name for name, kind in board.schema.items() if kind.is_numeric()]


def board_lines(board: polars.DataFrame) -> polars.DataFrame:
    """The first line of each workload, method and optimizer of a leaderboard: what their one method run shows."""
    return board.unique(["workload", "method", "optimizer"], keep="first", maintain_order=True)


def board_metrics(board: polars.DataFrame) -> Iterator[tuple[MethodKey, dict[str, float]]]:
    """The finite numbers of each of `board_lines`."""
    names = board_metrics_names(board)
    for row in board_lines(board).iter_rows(named=True):
        key = MethodKey(workload=row["workload"], method=row["method"], optimizer=row["optimizer"])
        yield key, {name: row[name] for name in names if row[name] is not None and math.isfinite(row[name])}


def board_tags(board: polars.DataFrame, texts: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Tags of each of `board_lines`: its flags, and of `texts`, a text a row of the board by title, its own."""
    rows = board_lines(board.with_columns(polars.Series(name, of) for name, of in texts.items()))
    tags = [{name: row[name] for name in texts} | {"flags": flags_text(row["flags"])} for row in rows.to_dicts()]
    return [{name: storable(text, MAX_TAG) for name, text in of.items()} for of in tags]


def flags_text(flags: str | Sequence[str] | None) -> str:
    """The flags of a line of a leaderboard as one text."""
    if flags is None or isinstance(flags, str):
        return flags or ""
    return ", ".join(flags)


def note(markdown: str, links: str) -> str:
    """The text with the links at its end, and as many of its lines as a tag holds."""
    if len(markdown) + len(links) <= MAX_TAG:
        return f"{markdown}{links}"
    most = MAX_TAG - len(links) - 10
    whole_lines = markdown[:most].rpartition("\n")[0]
    return f"{whole_lines or markdown[:most]}\n\n…{links}"


def trial_name(result: Result) -> str:
    trial = result.trial
    swept = "".join(f" {name}={value}" for name, value in trial.settings.items())
    return storable(f"{trial.method.label} lr={trial.knobs.lr:g}{swept} seed={trial.seed}", MAX_NAME)


def trial_tags(result: Result) -> dict[str, str]:
    """Tags of a trial's run; `result_text` reads them back."""
    text = canonical_json(result.to_dict())
    pieces = [text[start : start + MAX_TAG] for start in range(0, len(text), MAX_TAG)]
    names = [RESULT] + [f"{RESULT}.{number}" for number in range(1, len(pieces))]
    imported = import_name(result.trial.method.name)
    return {
        **({} if imported is None else {IMPORTED: imported}),
        KIND: "trial",
        SCHEMA: str(SCHEMA_VERSION),
        TRIAL_ID: result.trial.id,
        OUTCOME: result.outcome.value,
        **_loss_texts(result),
        **dict(zip(names, pieces, strict=True)),
    }


def _loss_texts(result: Result) -> dict[str, str]:
    losses = (result.final_loss, result.initial_loss)
    pairs = zip(LOSSES, losses, strict=True)
    return {name: f"{loss:#.3g}".rstrip(".") for name, loss in pairs if loss is not None and math.isfinite(loss)}


def result_text(tags: Mapping[str, str]) -> str:
    """The JSON of a trial's result, put together from its tags."""
    pieces = [tags[RESULT]]
    while f"{RESULT}.{len(pieces)}" in tags:
        pieces.append(tags[f"{RESULT}.{len(pieces)}"])
    return "".join(pieces)


def result_from_tags(tags: Mapping[str, str]) -> Result:
    """Raises ValueError for a trial of another version."""
    return Result.from_dict(json.loads(result_text(tags)))


def params_of_text(text: str) -> dict[str, str]:
    """What may differ between trials, of a result as JSON text: labels of entries, knobs, seed, other settings."""
    trial = json.loads(text)["trial"]
    entries = {name: entry for name, entry in trial.items() if isinstance(entry, dict) and "label" in entry}
    settings = {name: one["params"][name.rpartition(".")[2]] for one in entries.values() for name in one["swept"]}
    numbers = {**trial["knobs"], "seed": trial["seed"], **settings}
    return {name: entry["label"] for name, entry in entries.items()} | {name: str(n) for name, n in numbers.items()}


def trial_params(result: Result) -> dict[str, str]:
    trial = result.trial
    labels = {kind: choice.label for kind, choice in trial.choices.items()}
    numbers = {**trial.knobs.to_dict(), "seed": trial.seed, "num_steps": trial.num_steps}
    return {name: storable(str(value), _MAX_PARAM) for name, value in {**labels, **numbers, **trial.settings}.items()}


def trial_metrics(result: Result) -> dict[str, float]:
    """Single numbers, at the trial's last step; those on held-out data end the curves of their names.

    Non-finite ones are left out, because MLflow turns inf into 1.8e308.
    """
    losses = {"initial_loss": result.initial_loss, "final_loss": result.final_loss}
    numbers = {**losses, **result.held_out, "wall_s": result.wall_s}
    return {name: number for name, number in numbers.items() if number is not None and math.isfinite(number)}


def storable(text: str, limit: int) -> str:
    """Text that every database keeps and every page shows: control characters replaced, the rest cut at `limit`."""
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"
