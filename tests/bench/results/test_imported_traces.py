"""Values by step of an imported file are its runs' traces: scores from traces, figures and verify take them."""

import polars as pl
import pytest

from analysis.scores.table import score_table
from bench.imports.formats import as_tidy
from bench.imports.tidy_file import read_tidy
from bench.imports.wishes import Wishes
from bench.results.imports import import_runs
from bench.results.named import compared_subject
from bench.results.stored import Stored
from bench.results.subjects import read_grid
from bench.results.verify import verify
from bench.store import Store, read_imports, read_traces

STEPS = range(0, 101, 2)


def write(folder, lowest: float = 1.0):
    """Two rates of a method and two seeds; the loss falls in a line from 4 to 1 at 0.1 and to 2 at 0.2."""
    rows = [
        f"a,{lr},{seed},{step},{4 - (4 - end) * step / 100 if step else 4}"
        for lr, end in ((0.1, lowest), (0.2, 2.0))
        for seed in (0, 1)
        for step in STEPS
    ]
    (folder / "theirs.csv").write_text("\n".join(["method,lr,seed,step,loss", *rows]) + "\n")
    return as_tidy(read_tidy(folder / "theirs.csv"), Wishes())


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store = Store(folder / "store", warn=pytest.fail)
        import_runs(write(folder), store, beside=None)
        yield store, folder


def test_scores_from_traces_are_those_of_the_file(imported):
    store, folder = imported
    subject = read_grid(Stored(name="theirs", suite=None), store)
    scores = score_table(subject.entries, "train").filter(pl.col("score").is_in(["steps_to_target", "spike_rate"]))
    values = dict(scores.select("score", "value").rows())
    # Three quarters of the way from 4 to 1 is 1.75: the line is there at step 75, its mean of ten 9 steps later.
    assert values == {"steps_to_target": 84.0, "spike_rate": 0.0}
    alone = compared_subject(str(folder / "theirs.csv"), store, allow_code=False)
    assert alone.measures is not None
    assert subject.measures is not None
    assert alone.measures.drop("trial_id").rows() == subject.measures.drop("trial_id").rows()
    assert verify(Stored(name="theirs", suite=None), store).findings == ()


def test_the_same_file_changes_nothing_and_other_traces_replace(imported):
    store, folder = imported
    assert import_runs(write(folder), store, beside=None).is_unchanged
    (folder / "theirs.csv").write_text((folder / "theirs.csv").read_text().replace("a,0.1,0,50,2.5", "a,0.1,0,50,2.25"))
    again = import_runs(as_tidy(read_tidy(folder / "theirs.csv"), Wishes()), store, beside=None)
    assert (again.num_new, again.num_replaced, again.num_removed) == (0, 0, 0)
    traces = read_traces(store, "theirs", again.subject.results["trial_id"].to_list())
    assert sorted(traces.filter(pl.col("step") == 50)["value"]) == [2.25, 2.5, 3.0, 3.0]
    assert read_imports(store, "theirs")["theirs"]["traces"] == 4
