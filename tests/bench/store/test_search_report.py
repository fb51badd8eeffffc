"""`bench report` and the page on MLflow of a suite whose searches are finished, from a store that nothing trained."""

import json
import math
import shutil

import pytest
from typer.testing import CliRunner

from bench.cli.app import app
from bench.driver.queues import SearchQueue
from bench.outcome import Outcome, Result
from bench.results.publish import publish
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.store import Store, Tracker
from bench.suite import Context, Suite
from tests.bench.store import finished_packs

PLAIN = finished_packs.PLAIN_SUITE | {"knobs": {"lr": [1e-4, 10.0]}, "search": "edge"}


@pytest.fixture
def searched(fresh_database, tmp_path) -> Store:
    """Every seed is stable below 0.03."""
    suite = Suite.model_validate(PLAIN, context=Context(allow_code=False))
    shutil.copy(fresh_database, tmp_path / "mlflow.db")
    store = Store(tmp_path, warn=pytest.fail)
    tracker, queue = Tracker(store, suite.name), SearchQueue(suite, {})
    while trials := queue.next():
        finished = [
            Result(
                trial=trial,
                outcome=Outcome.COMPLETED if trial.knobs.lr < 0.03 else Outcome.DIVERGED,
                initial_loss=3.0,
                final_loss=1.0 if trial.knobs.lr < 0.03 else math.inf,
                wall_s=1.0,
            )
            for trial in trials
        ]
        tracker.put(finished, {})
        queue.tell(finished)
    assert tracker.deliver() == 0
    publish(read_subject(Stored.of(suite), store), store, tracker)
    assert tracker.close() == 0
    return store


@pytest.mark.slow
def test_the_report_and_the_page_on_mlflow_say_the_same(searched, tmp_path):
    (tmp_path / "suite.yaml").write_text(json.dumps(PLAIN))
    out = tmp_path / "new" / "report"
    done = CliRunner().invoke(
        app, ["report", str(tmp_path / "suite.yaml"), "--store", str(searched.home), "--out", str(out)]
    )
    assert (done.exit_code, done.stdout) == (0, f"{out / 'index.html'}\n")
    refused = CliRunner().invoke(
        app, ["report", str(tmp_path / "suite.yaml"), "--compare", "paper", "--store", str(searched.home)]
    )
    assert (
        str(refused.exception)
        == "suite asks for a search, whose report takes no --compare, --score or --loss; leave that out"
    )
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "is stable up to the largest lr" in page
    (published,) = searched.home.rglob("search.html")
    assert "<a href" not in published.read_text(encoding="utf-8")
    sentence = next(line for line in page.splitlines() if line.startswith('<p class="lead">'))
    assert sentence in published.read_text(encoding="utf-8")
