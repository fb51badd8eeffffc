"""What tests of pages share."""

import shutil

import pytest


@pytest.fixture(scope="module")
def browser():
    """A real browser for the pages of a module; tests that need it are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as browsers:
        started = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()
