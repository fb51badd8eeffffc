"""Whether the place of results answers: asked without making or changing anything there."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.errors import StoreError
from bench.store import database
from bench.store.failures import as_store_error

if TYPE_CHECKING:
    from bench.store.store import Store

SECONDS = 10.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


def reach(store: Store) -> str:
    """What answered: the server, the database or the file. Raises StoreError where none does, or none lets us in."""
    if store.is_remote:
        return _reach_server(store)
    if store.database is not None:
        return f"{store.database}, a file of this node"
    with store.reported():
        is_made = database.has_tables(store.uri)
    return f"{store.shown_uri}{'' if is_made else ', still without tables'}"


def _reach_server(store: Store) -> str:
    import requests

    user, password = (os.environ.get(name) for name in ACCOUNT)
    account = (user, password) if user is not None and password is not None else None
    try:
        code = requests.get(store.uri + SEARCH, auth=account, timeout=SECONDS).status_code
    except requests.RequestException as error:
        raise as_store_error(store.shown_uri, error) from error
    if code in (401, 403):
        raise StoreError(f"{store.shown_uri} lets no driver in (HTTP {code}); set {' and '.join(ACCOUNT)} on the head")
    if code != 200:
        raise StoreError(f"{store.shown_uri}: no MLflow server (HTTP {code} for its experiments)")
    return store.shown_uri


def endpoint(store: Store) -> tuple[str, int] | None:
    """Host and port of the server or database; None for a file."""
    if store.database is not None:
        return None
    parts = urlsplit(store.uri)
    return parts.hostname or "localhost", parts.port or PORTS[parts.scheme.partition("+")[0]]


def is_listening(host: str, port: int) -> bool:
    """Whether anything listens there for this process."""
    try:
        socket.create_connection((host, port), timeout=SECONDS / 2).close()
    except OSError:
        return False
    return True
