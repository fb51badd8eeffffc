"""Subject: the trials of a grid and what goes with them, each thing computed or read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from analysis.blown_up import with_margin
from analysis.curves import ENTRY, with_knobs
from analysis.losses import choose_loss
from analysis.scores.causes.aborts import aborts
from analysis.scores.causes.detectors import QUANTITIES as WATCHED_QUANTITIES
from analysis.scores.causes.detectors import detector_records
from analysis.scores.causes.early_warning import WARNING_COLUMNS, warning_board, watched_runs
from analysis.scores.causes.effects import PAIR_COLUMNS, PAIRED_COLUMNS, effects, paired
from analysis.scores.causes.theory import (
    ATTENTION_COLUMNS,
    DEVIATION_COLUMNS,
    QUANTITIES,
    theory_deviations,
    theory_points,
)
from analysis.scores.causes.warning_curves import WARNING_CURVE_COLUMNS, warning_curves
from analysis.scores.costs import with_costs
from analysis.scores.flags import with_flag
from analysis.scores.leaderboard import leaderboard
from analysis.scores.parts import ScoredEntry
from analysis.scores.table import measured_entries, trials_to_measure
from analysis.scores.traces import MEASURED_QUANTITIES, lot_measures
from analysis.spelling import with_one_spelling
from analysis.subject.run import Run
from bench.trace import TRACE_COLUMNS
from bench.trial import BLOWN_UP_MARGIN

# (trial ids, quantities or None for all) -> trial_id and TRACE_COLUMNS, in frames of whole trials
TraceLots = Callable[[Collection[str], Collection[str] | None], Iterable[pl.DataFrame]]


def no_traces(trial_ids: Collection[str], quantities: Collection[str] | None) -> Iterable[pl.DataFrame]:
    """The TraceLots of trials that left none."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Subject(Run):
    """Trials of a grid and what goes with them; what is computed or read of them is, once, when it is asked for.

    name, briefly, and origin, in full: what comparisons call it. title: of its pages. description: what is compared.
    facts: what a page says of the run behind it, beside the manifest; none of runs of others alone.
    results: RESULT_COLUMNS, knobs in one spelling (analysis.spelling). imported: ids of the trials that were imported.
    num_trials: asked for, of which num_missing have no result. num_keys: the number of keys N of the attention, by
    workload label. layer_names: of attention, in the order of their numbers in traces, of workloads whose models have
    several stacks of layers.
    score: what the board is ordered by. loss: the one of SCORED_LOSSES that all scores are of.
    published: numbers of others to set beside these (analysis.references.load).
    blown_up_margin: of trials whose results have none of their own (analysis.blown_up).
    intervened: RESULT_COLUMNS of the trials with an intervention, which stand on no board; pairs: PAIR_COLUMNS of
    analysis.scores.causes.effects, each of them with its twin among the results.
    controls: methods that are A/A controls, by label, and the label of what each is a control of.
    attentions: ATTENTION_COLUMNS of analysis.scores.causes.theory, of each workload and method of our own.
    read_manifest: gives its JSON text, None where there is none. trace_lots: reads traces.
    is_measured: whether the traces of all trials are read, for the scores from traces.
    """

    origin: str = ""
    results: pl.DataFrame
    imported: Collection[str] = ()
    num_keys: Mapping[str, int] = field(default_factory=dict)
    layer_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    score: str = "lr_sensitivity"
    loss: str = "train"
    published: pl.DataFrame | None = None
    blown_up_margin: float = BLOWN_UP_MARGIN
    controls: Mapping[str, str] = field(default_factory=dict)
    intervened: pl.DataFrame | None = None
    pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PAIR_COLUMNS))
    attentions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ATTENTION_COLUMNS))
    trace_lots: TraceLots = no_traces
    is_measured: bool = True

    def __post_init__(self) -> None:
        results = with_margin(with_one_spelling(self.results)[0], self.blown_up_margin)
        object.__setattr__(self, "results", results)

    def scored_as(self, score: str, loss: str) -> Subject:
        """The subject with its board ordered by this score of this loss."""
        is_so = (score, loss) == (self.score, self.loss)
        return self if is_so else dataclasses.replace(self, score=score, loss=loss)

    @cached_property
    def board(self) -> pl.DataFrame:
        """LEADERBOARD_COLUMNS; entries of imported trials are flagged so."""
        board = leaderboard(self.results, self.score, self.loss, self.controls)
        return mark_imported(with_costs(board, self.plain_manifest), self.results, self.imported)

    @property
    def compared(self) -> pl.DataFrame:
        """The results of the entries that are compared as methods: all but A/A controls."""
        return self.results.filter(~pl.col("method").is_in(list(self.controls))) if self.controls else self.results

    @property
    def scored(self) -> pl.DataFrame:
        """The results with the scored loss as initial_loss and final_loss, which curves are made of."""
        return choose_loss(self.results, self.loss)

    @cached_property
    def entries(self) -> list[ScoredEntry]:
        """What every score is computed from, by entry."""
        return measured_entries(self.results, self.measures, self.loss)

    @cached_property
    def measures(self) -> pl.DataFrame | None:
        """What the traces of all trials say, `trial_measures`; None if they are not read, or there are none to read."""
        if not self.is_measured or self.trace_lots is no_traces:
            return None
        trials = trials_to_measure(self.results, self.num_keys)
        return lot_measures(self.trace_lots(trials["trial_id"].to_list(), MEASURED_QUANTITIES), trials)

    @cached_property
    def paired(self) -> pl.DataFrame:
        """PAIRED_COLUMNS of the interventions, of the training loss; no row without any."""
        if self.intervened is None:
            return pl.DataFrame(schema=PAIRED_COLUMNS)
        ids = {*self.pairs["trial_id"], *self.pairs["twin_id"]}
        both = pl.concat([self.results.select(self.intervened.columns), self.intervened])
        return paired(both, self.pairs, self.trace_lots(ids, ("loss",)))

    @cached_property
    def effects(self) -> pl.DataFrame:
        """EFFECT_COLUMNS of the interventions; no row without any."""
        return effects(self.paired)

    @cached_property
    def theory(self) -> pl.DataFrame:
        """DEVIATION_COLUMNS of the trials' attention; no row without traces of it."""
        if not self.is_measured or self.attentions.is_empty() or self.trace_lots is no_traces:
            return pl.DataFrame(schema=DEVIATION_COLUMNS)
        own = self.results.join(self.attentions, on=["workload", "method"], how="semi")
        lots = self.trace_lots(own["trial_id"].to_list(), QUANTITIES)
        return theory_deviations(theory_points(own, self.attentions, lots))

    @cached_property
    def watched(self) -> pl.DataFrame:
        """The results that completed or diverged as `watched_runs`, those that failed and those that did not."""
        return watched_runs(self.results)

    @cached_property
    def early_warning(self) -> pl.DataFrame:
        """WARNING_COLUMNS of the trials without interventions; no row without traces, or failed and stable runs."""
        runs = self.watched
        has_both = runs.filter(~pl.col("is_stuck"))["is_failed"].n_unique() == 2
        if not self.is_measured or self.trace_lots is no_traces or not has_both:
            return pl.DataFrame(schema=WARNING_COLUMNS)
        records, known = self._warnings
        return warning_board(known, records)

    @cached_property
    def warning_curves(self) -> pl.DataFrame:
        """WARNING_CURVE_COLUMNS of the detectors that `early_warning` scores."""
        scored = self.early_warning.filter(left_out="")
        if scored.is_empty():
            return pl.DataFrame(schema=WARNING_CURVE_COLUMNS)
        records, known = self._warnings
        return warning_curves(known, records, scored)

    @cached_property
    def _warnings(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Records of detectors and the runs that they are of, with their onsets."""
        runs = self.watched
        return detector_records(self.trace_lots(runs["trial_id"].to_list(), WATCHED_QUANTITIES), runs)

    @cached_property
    def aborts(self) -> pl.DataFrame:
        """ABORT_COLUMNS of the trials without interventions; no row where the last run aborted none."""
        return aborts(self.results, self.plain_manifest.get("abort_on_warning"))

    def traces(self, trial_ids: Collection[str], quantities: Collection[str] | None = None) -> pl.DataFrame:
        """trial_id and TRACE_COLUMNS of these trials; no rows of one that left no trace."""
        schema = {"trial_id": pl.String, **{name: getattr(pl, dtype) for name, dtype in TRACE_COLUMNS.items()}}
        return pl.concat([pl.DataFrame(schema=schema), *self.trace_lots(trial_ids, quantities)])


def mark_imported(board: pl.DataFrame, results: pl.DataFrame, imported: Collection[str]) -> pl.DataFrame:
    """A leaderboard of `results` with the flag `imported`, the last, on the entries of imported trials."""
    entries = with_knobs(results).filter(pl.col("trial_id").is_in(list(imported))).select(ENTRY).unique()
    marked = board.join(entries.with_columns(imported=True), on=ENTRY, how="left", maintain_order="left")
    flags = pl.when("imported").then(with_flag("imported")).otherwise("flags")
    return marked.with_columns(flags=flags).select(board.columns)
