"""Optuna's dashboard in a real browser, on a study of two objectives that was made from records."""

import threading
import wsgiref.simple_server

import optuna
import pytest

from analysis.scores.box.knobs import BoxKnob
from bench.search.storage import RecordedSetting, RecordedStudy, write_studies


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.slow
def test_the_front_of_two_objectives_is_drawn_and_every_setting_listed(browser, tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard (the extra `search`)")
    settings = [
        RecordedSetting(values={"lr": lr}, losses=losses, attributes={"trial_ids": [f"id of {lr}"]})
        for lr, losses in ((0.01, (1.0, 4.0)), (0.1, (2.0, 3.0)), (0.2, (2.5, 3.5)))
    ]
    knob = BoxKnob(name="lr", form="log", ends=(1e-3, 1.0))
    objectives = ("mean loss", "loss of the worst seed")
    url = f"sqlite:///{tmp_path}/studies.db"
    write_studies([RecordedStudy(name="s", knobs=[knob], settings=settings, attributes={}, objectives=objectives)], url)
    storage = optuna.storages.RDBStorage(url)
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, dashboard.wsgi(storage), handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page, errors = browser.new_page(viewport={"width": 1400, "height": 1000}), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/dashboard/studies/1")
        page.get_by_text("Pareto Front").wait_for(timeout=60_000)
        page.locator("#graph-pareto-front .scatterlayer .point").first.wait_for(timeout=60_000)
        assert page.locator("#graph-pareto-front .scatterlayer .point").count() == len(settings)
        assert all(name in page.content() for name in objectives)
        page.goto(f"http://127.0.0.1:{server.server_port}/dashboard/studies/1/trials")
        page.get_by_text("id of 0.01").wait_for(timeout=60_000)
        assert errors == []
        page.close()
    finally:
        server.shutdown()
        server.server_close()
        storage.engine.dispose()
