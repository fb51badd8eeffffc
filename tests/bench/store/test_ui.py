import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import polars as pl
import pytest

from analysis.figures.style.interactive import interactive_page
from bench.errors import StoreError, UsageError
from bench.store import Store, suite_link, ui_command, view_link
from tests.bench.store import finished_packs


@pytest.fixture
def board(store, open_tracker) -> pl.DataFrame:
    """A delivered suite with its leaderboard; relu is the more sensitive by number, the first by name."""
    tracker = open_tracker(store)
    finished = finished_packs.results(range(4))
    tracker.put(finished, finished_packs.traces(finished))
    tracker.deliver()
    board = pl.DataFrame(
        {
            "rank": [1, 2],
            "workload": ["regression"] * 2,
            "method": ["softmax", "relu"],
            "optimizer": ["adam"] * 2,
            "lr_sensitivity": [0.125, 0.5],
            "flags": ["", "<b>few seeds</b>"],
        }
    )
    tracker.log_leaderboard(board)
    tracker.tag({"bench.version": "0.1.0"})
    chart = {"mark": "point", "data": {"values": [{"a": 1, "b": 2}]}, "encoding": {
        name: {"field": field, "type": "quantitative"} for name, field in (("x", "a"), ("y", "b"))}}  # fmt: skip
    tracker.log_page("softmax is the most robust", {"charts.html": interactive_page([("Points", chart)], title="t")})
    return board


def test_link_of_an_unknown_suite_is_an_error(store):
    for link in (view_link, suite_link):
        with pytest.raises(StoreError, match="no results of suite 'nothing'"):
            link(store, "nothing", "http://127.0.0.1:5000")


def test_link_before_the_leaderboard_still_shows_method_runs(store, open_tracker):
    open_tracker(store).finished()
    link = view_link(store, "suite", "http://127.0.0.1:5000/")
    assert link.startswith("http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&searchFilter=")


def test_remote_store_needs_no_server(tmp_path):
    with pytest.raises(UsageError, match="server already"):
        ui_command(Store(tmp_path, "http://127.0.0.1:9", warn=pytest.fail), 5000)


def test_the_database_of_the_server_is_in_its_environment_not_on_its_command_line(store, open_tracker):
    """Any user of the machine sees command lines, and the address of a database may hold a password."""
    open_tracker(store).finished()
    command, environment = ui_command(store, 5000)
    assert not [word for word in command if store.uri in word]
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store.uri


@pytest.mark.slow
def test_browser_shows_the_leaderboard(store, board, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("needs a browser")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "server.log").open("wb") as log:
        command, environment = ui_command(store, port)
        server = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, cwd=tmp_path, env=environment
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                break
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=browser_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            )
            page = browser.new_page(viewport={"width": 1800, "height": 900})
            page.goto(view_link(store, "suite", f"http://127.0.0.1:{port}"))
            page.get_by_text("2 matching runs").wait_for(timeout=60_000)
            table = page.locator(".ag-root").inner_text()
            page.goto(suite_link(store, "suite", f"http://127.0.0.1:{port}"))
            page.get_by_text("softmax is the most robust").wait_for(timeout=60_000)
            with page.expect_popup() as opened:
                page.get_by_role("link", name="charts.html").click()
            opened.value.frame_locator("iframe").first.locator("svg.marks").wait_for(timeout=60_000)
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert table.index("softmax |") < table.index("relu |")
    for text in ("lr_sensitivity", "rank", "0.125", "0.5", "<b>few seeds</b>", "flags"):
        assert text in table
    assert "seed=" not in table
