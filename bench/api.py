"""Suites and results in Python: `run`, `load` and `Results`, made of the functions that the commands are made of.

import bench

results = bench.run("quickstart")          # as `bench run`: trains what is missing, with a line of progress
results = bench.load("quickstart")         # as `bench leaderboard`: reads, trains nothing
results.leaderboard                        # Polars frames ...
results.charts["loss_against_lr"]          # ... Altair charts ...
results.report("reports/quickstart")       # ... and files
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.driver.options import Options
from bench.driver.run import run_suite
from bench.errors import StoreError, UsageError
from bench.lazy import polars
from bench.results.named import compared_subject, is_outside
from bench.results.stored import find_stored
from bench.results.subjects import read_subject
from bench.store import Store
from bench.suite import Suite, find_suite, load_suite, parse_suite

if TYPE_CHECKING:
    from analysis.figures.style.chart_style import Chart
    from analysis.subject import AnySubject, Subject

Loss = Literal["train", "validation"]
Font = Literal["sans", "serif"]
DEFAULT_STORE = ".bench"


def run(
    suite: str | os.PathLike[str] | Suite,
    *,
    store: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    allow_code: bool = False,
    options: Options | None = None,
    shows_progress: bool = True,
) -> Results:
    """Train what the store lacks of a suite, publish its leaderboard to MLflow, and return all of its results.

    suite: a suite file, the name of a shipped suite, the text of a suite file (which has several lines), or a Suite.
    store: folder of the embedded store; else BENCH_STORE, else `.bench` here. tracking_uri: an MLflow server or
    database instead; else MLFLOW_TRACKING_URI. allow_code: import `package.module:Class` entries of the suite.
    options: how it is run, such as the address of a cluster or how many trials make a pack. shows_progress: a line on
    stderr, which a notebook shows below the cell.

    Raises UsageError for what is wrong with the suite, and StoreError where store or cluster can't be reached, or
    results wait in the outbox because the store did not take them. An interrupt (Ctrl-C, a notebook's stop button) lets
    packs in training finish and returns what there is; a second one raises KeyboardInterrupt.
    """
    read, opened = _suite(suite, allow_code), _store(store, tracking_uri)
    from bench.cli.progress import callbacks_of

    with callbacks_of(shows_progress) as callbacks:
        summary = run_suite(read, opened, options or Options(), **callbacks)
    if summary.subject is None:
        raise StoreError(
            f"{opened.shown_uri}: no results of {read.name}; the next run delivers {summary.num_waiting} packs"
        )
    return Results(summary.subject, opened)


def load(
    source: str | os.PathLike[str] | Suite,
    *,
    store: str | os.PathLike[str] | None = None,
    tracking_uri: str | None = None,
    allow_code: bool = False,
    score: str = "lr_sensitivity",
    loss: Loss = "train",
    published: str | None = None,
) -> Results:
    """Results that were trained or imported before: nothing is trained, and nothing is written.

    source: a suite file, the name of a suite or of imports in the store, a Suite, a report's folder, or a file of runs
    (CSV, Parquet, JSON lines). score: what the leaderboard is ordered by. loss: the one that all scores are of.
    published: numbers of others to set beside them, `paper`. The rest as in `run`.

    Raises UsageError if it names nothing, or nothing with results, and StoreError where the store can't be read.
    """
    from analysis import references

    opened = _store(store, tracking_uri)
    beside = references.load(published) if published else None
    if isinstance(source, Suite):
        from bench.results.stored import Stored

        stored = Stored.of(source)
    elif is_outside(text := os.fspath(source)):
        if beside is not None:
            raise UsageError(f"{text}: published numbers stand beside what a store holds; required a suite")
        return Results(compared_subject(text, opened, allow_code=allow_code, score=score, loss=loss), opened)
    else:
        stored = find_stored(text, opened, allow_code=allow_code)
    return Results(read_subject(stored, opened, score=score, loss=loss, published=beside), opened)


class Results:
    """What a suite, an import, a report's folder or a file holds, as frames, charts and files.

    Frames are Polars frames with the columns of the files of the same name that `bench report` writes. What is computed
    is computed once. A notebook shows the leaderboard of it. Of a suite with an adaptive search there are leaderboard,
    charts and report alone, of one with a box its trials, too; what else is asked for raises UsageError.
    """

    def __init__(self, subject: AnySubject, store: Store) -> None:
        self._subject = subject
        self._store = store

    @property
    def name(self) -> str:
        """The suite's, the import's, the folder's or the file's."""
        return self._subject.name

    @property
    def missing(self) -> str:
        """In words how many trials have no result yet; empty if all have."""
        return self._subject.missing

    @property
    def leaderboard(self) -> polars.DataFrame:
        """A row a workload, method, optimizer and knobs, the best first: score, interval, ranks, flags; of a search
        its answers."""
        return self._subject.board

    @property
    def trials(self) -> polars.DataFrame:
        """A row a trial: labels, knobs, seed, outcome, losses; with an intervention, too, which stand on no board; of a
        box a row a point and seed of each method."""
        from analysis.subject import BoxSubject

        if isinstance(self._subject, BoxSubject):
            return self._subject.trials
        subject = self._grid("trials")
        if subject.intervened is None:
            return subject.results
        return polars.concat([subject.results.select(subject.intervened.columns), subject.intervened])

    @property
    def traces(self) -> polars.DataFrame:
        """What was measured during every trial: trial_id, step, quantity, layer, value. Of many trials it is large:
        `traces_of` reads some."""
        return self.traces_of()

    def traces_of(
        self, trial_ids: Collection[str] | None = None, quantities: Collection[str] | None = None
    ) -> polars.DataFrame:
        """The traces of these trials and quantities (`loss`, `grad_norm`, `entropy`, ...) alone; None: of all."""
        from bench.trace import TRACE_COLUMNS

        subject = self._grid("traces")
        wanted = self.trials["trial_id"].to_list() if trial_ids is None else list(trial_ids)
        schema = {"trial_id": polars.String, **{name: getattr(polars, kind) for name, kind in TRACE_COLUMNS.items()}}
        return polars.concat([polars.DataFrame(schema=schema), *subject.trace_lots(wanted, quantities)])

    @cached_property
    def curves(self) -> polars.DataFrame:
        """A row a learning rate and seed of each entry, with its final loss: what scores are computed from."""
        from analysis.report.grid_report import curve_rows

        return curve_rows(self._grid("curves"))

    @cached_property
    def scores(self) -> polars.DataFrame:
        """A row a score of each entry with its 95% interval over seeds, as `bench scores`."""
        from analysis.scores.table import score_table

        subject = self._grid("scores")
        return score_table(subject.entries, subject.loss)

    def differences(self, score: str | None = None) -> polars.DataFrame:
        """A row a pair of methods: the difference in a score with its interval and Holm-corrected p; else in that of
        the leaderboard."""
        from analysis.scores.table import score_differences

        subject = self._grid("differences")
        return score_differences(subject.entries, score or subject.score)

    def compare(
        self, *others: Results | str | os.PathLike[str], score: str = "lr_sensitivity", allow_code: bool = False
    ) -> dict[str, polars.DataFrame]:
        """The methods over the conditions of this and of others, as `bench compare` has them.

        others: Results, or what `load` takes, of this store. The frames: methods (mean ranks, best first), scores,
        conditions, score_ranks, agreement, profiles; analysis.across.ranking has their columns.
        """
        from analysis.across.conditions import conditions
        from analysis.across.ranking import across_board, compared_score
        from analysis.tables.across import board_frames

        compared_score(score)
        loss = self._grid("compare").loss
        subjects = [self._grid("compare")]
        for other in others:
            if not isinstance(other, Results):
                text = os.fspath(other)
                subjects.append(compared_subject(text, self._store, loss=loss, allow_code=allow_code))
            else:
                subjects.append(other._grid("compare").scored_as(score, loss))
        names = [one.name for one in subjects]
        frames = {one.name if names.count(one.name) == 1 else one.origin: one.compared for one in subjects}
        if len(frames) < len(subjects):
            raise UsageError(f"{', '.join(names)}: required each side once")
        return board_frames(across_board(conditions(frames, loss), score))

    @cached_property
    def charts(self) -> dict[str, Chart]:
        """Every figure of the report as an Altair chart, under the name of its kind, from the second of a kind on with
        a number: `loss_against_lr`, `training_behaviour`, `entropy_by_layer`, `diverged_map`, ..."""
        from analysis.figures.style.named import named_chart
        from analysis.report.folder import report_figures

        charts: dict[str, Chart] = {}
        for drawn in report_figures(self._subject):
            number = sum(name.rpartition("-")[0] == drawn.kind or name == drawn.kind for name in charts) + 1
            name = drawn.kind if number == 1 else f"{drawn.kind}-{number}"
            charts[name] = named_chart(drawn.chart, self._subject.labels.plain)
        return charts

    def report(self, path: str | os.PathLike[str], *, font: Font | None = None) -> Path:
        """Write tables, figures and one page into a folder, as `bench report`; returns the page, index.html.

        font: of figures, embedded; else a sans serif of whoever looks at them.

        Raises UsageError for a folder that is neither new, empty nor an earlier report's.
        """
        from analysis.report.folder import write_report
        from analysis.report.own_folder import keep_to, refuse_other_folder

        folder = Path(path).expanduser()
        refuse_other_folder(folder)
        paths = write_report(self._subject, folder, font=font)
        keep_to(folder, paths)
        return paths[0]

    def bundle(self, path: str | os.PathLike[str], *, font: Font = "sans") -> Path:
        """Write what goes into a paper, as `bench export --bundle`; returns the document that LaTeX compiles.

        font: of figures. Raises UsageError for a folder that holds anything but an earlier, unedited bundle.
        """
        from analysis.paper.bundles import bundle_of

        subject = self._subject
        said = {name: getattr(subject, name) for name in ("score", "loss") if hasattr(subject, name)}
        words = "".join(f", {name}={value!r}" for name, value in said.items())
        command = f"bench.load({self.name!r}{words}).bundle('DIR')"
        return bundle_of(subject, Path(path).expanduser(), command=command, font=font)[0]

    def __repr__(self) -> str:
        return f"Results({self.name!r}: {self.leaderboard.height} entries{f', {self.missing}' if self.missing else ''})"

    def _repr_html_(self) -> str:
        from analysis.report.views import view_of
        from analysis.tables.forms.frames import frame_tables
        from analysis.tables.forms.html import group_html
        from analysis.tables.forms.table import Group

        frames, names = view_of(self._subject).frames(self._subject), self._subject.labels.plain
        tables = [table for frame in frames for table in frame_tables(names.in_frame(frame))]
        return group_html(Group(tables=tuple(tables), note=self.missing))

    def _grid(self, what: str) -> Subject:
        from analysis.report.views import view_of
        from analysis.subject import Subject

        if not isinstance(self._subject, Subject):
            asks = view_of(self._subject).asks
            raise UsageError(f"{self.name} {asks}: required a suite that trains its grid for .{what}")
        return self._subject


def _suite(suite: str | os.PathLike[str] | Suite, allow_code: bool) -> Suite:
    if isinstance(suite, Suite):
        return suite
    text = os.fspath(suite)
    if "\n" in text:
        return parse_suite(text, file_name="suite", allow_code=allow_code)
    return load_suite(find_suite(text), allow_code=allow_code)


def _store(home: str | os.PathLike[str] | None, uri: str | None) -> Store:
    place = Path(home if home is not None else os.environ.get("BENCH_STORE", DEFAULT_STORE))
    return Store(place.expanduser(), uri, warn=_warn)


def _warn(message: str) -> None:
    from analysis.text import escape_controls

    sys.stderr.write(f"{escape_controls(message)}\n")
