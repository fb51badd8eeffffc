"""MLflow's user interface: the command that serves the store, and links to what it shows of a suite."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from dataclasses import dataclass, field
from urllib.parse import urlencode

from bench.errors import StoreError, UsageError
from bench.files import open_private, private_folder
from bench.store import records
from bench.store.store import Store
from bench.store.views import LEADERBOARD, view_query

LOGIN_USER = "bench"

_LOGIN_SETTINGS = """[mlflow]
default_permission = READ
database_uri = sqlite:///{accounts}
"""


def ui_command(
    store: Store, port: int, *, host: str = "127.0.0.1", login: Login | None = None
) -> tuple[list[str], dict[str, str]]:
    """Command line that serves the store's pages on an address of this machine, and its environment, which holds what
    may be secret. With a login by MLflow's accounts.

    Raises UsageError if a server serves the store already.
    """
    if store.is_remote:
        raise UsageError(f"{store.shown_uri} is a server already; open it in a browser")
    store.schema()
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    kept = ["--default-artifact-root", store.artifact_root or "", "--no-serve-artifacts"]
    words = [sys.executable, "-m", "mlflow", "server", *address, *kept]
    jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # nothing here is run by the server
    environment = jobs | os.environ | {"MLFLOW_BACKEND_STORE_URI": store.uri}
    if login is not None:
        words += ["--app-name", "basic-auth"]
        environment |= login.environment
    return words, environment


@dataclass(frozen=True, kw_only=True)
class Login:
    """Accounts of MLflow's pages: what its server is told by the environment, and a password that was made anew."""

    environment: dict[str, str] = field(repr=False)
    new_password: str | None = field(repr=False)


def login_of(store: Store) -> Login:
    """The accounts of a store, kept in `login/` of its home. LOGIN_USER is the first, and may do everything.

    Its password is MLFLOW_AUTH_ADMIN_PASSWORD at the first start, or else made then. Raises UsageError where MLflow's
    extra `auth` is not installed.
    """
    if importlib.util.find_spec("flask_wtf") is None:
        raise UsageError("--login: MLflow's accounts need Flask-WTF; pip install 'mlflow[auth]'")
    folder = private_folder(store.home / "login")
    accounts, settings = folder / "accounts.db", folder / "settings.ini"
    with open_private(settings, "wb") as file:
        file.write(_LOGIN_SETTINGS.format(accounts=str(accounts).replace("%", "%%")).encode())
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": LOGIN_USER,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),  # signs forms until the server ends
    }
    if accounts.exists() or os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD"):
        return Login(environment=environment, new_password=None)
    password = secrets.token_urlsafe(16)
    return Login(environment=environment | {"MLFLOW_AUTH_ADMIN_PASSWORD": password}, new_password=password)


def view_link(store: Store, suite_name: str, base_url: str, view: str = LEADERBOARD) -> str:
    """URL of one of VIEWS of the suite's runs: after its leaderboard is published with its columns or charts.

    Raises StoreError if the suite has no results.
    """
    experiment = store.experiment(suite_name)
    if experiment is None:
        raise StoreError(f"{store.shown_uri}: no results of suite {suite_name!r} yet; run it first")
    query = view_query(view, experiment.tags)
    return f"{base_url.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs?{query}"


def suite_link(store: Store, suite_name: str, base_url: str) -> str:
    """URL of the suite run's page: its leaderboard, and pages with charts under Artifacts.

    Raises StoreError if the suite has no results.
    """
    experiment = store.experiment(suite_name)
    found = [] if experiment is None else store.runs(experiment, "suite")
    if experiment is None or not found:
        raise StoreError(f"{store.shown_uri}: no results of suite {suite_name!r} yet; run it first")
    path = f"experiments/{experiment.experiment_id}/runs/{found[0].run_id}"
    return f"{base_url.rstrip('/')}/#/{path}?{urlencode(records.CLASSIC)}"
