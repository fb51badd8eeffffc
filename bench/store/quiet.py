"""Keeps MLflow quiet and quick to give up.

Measured traps of MLflow 3.17.2:
- Requests to a dead server are tried again for minutes. The waits are shortened unless the user set them.
- `set_terminated` prints a link to standard output, and asks the server for the run to do so.
"""

from __future__ import annotations

import logging
import os
import warnings

_SETTINGS = {  # set unless the user did
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}


def quiet() -> None:
    """Sets what MLflow reads from the environment; called again after importing MLflow, which sets its log levels."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for logger in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    # MLflow 3.17.2 with SQLAlchemy 2.1; fatal where warnings are errors.
    warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning)
