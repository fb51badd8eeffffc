"""Settings of every test; its folder is importable, so tests share `trials` and `variants`."""

import os
import pwd
import shutil
import signal
import sys

import pytest

# Files that take longest, which a worker must not begin last.
FIRST = (
    "test_app.py",
    "test_notebooks.py",
    "test_aborting.py",
    "test_light_doors.py",
    "test_workloads.py",
    "test_box.py",
    "test_shipped_suites.py",
    "test_data_commands.py",
    "test_fast_paths.py",
    "test_folder.py",
    "test_delivery.py",
    "test_company.py",
)


def pytest_configure() -> None:
    """Ctrl-C reaches what tests start, also where a script runs them in its background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


def pytest_collection_finish() -> None:
    """One thread: tests' tensors are too small to share out, and tests that measure nothing should not compete."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_umask():
    """`bench ui` sets one for the server that this process would become; the next test is none of that."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


_OF_PACKAGES = set[str]()  # names of modules that no test wrote


@pytest.fixture(autouse=True)
def _modules_of_one_test(tmp_path_factory):
    """Own code that a test wrote and imported is forgotten: a command has a process of its own, tests share one."""
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - _OF_PACKAGES:
        file = getattr(sys.modules[name], "__dict__", {}).get("__file__")
        if isinstance(file, str) and file.startswith(folder):
            del sys.modules[name]
        else:
            _OF_PACKAGES.add(name)


@pytest.fixture(scope="session")
def postgres():
    """A throw-away Postgres server; tests that need it are skipped where Postgres or psycopg is absent."""
    missing = "needs Postgres's own programs (Debian: apt-get install postgresql) and psycopg (the extra `postgres`)"
    pytest.importorskip("psycopg", reason=missing)
    from tests.bench.store.postgres import Postgres, binaries

    programs = binaries()
    is_known = os.geteuid() or any(user.pw_name == "postgres" for user in pwd.getpwall())
    if programs is None or not is_known:
        pytest.skip(missing)
    server = Postgres(programs)
    yield server
    server.stop()


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
