"""What MLflow, its database, its artifacts and the network raise, and how it is said: one short line, no secrets."""

from __future__ import annotations

import sqlite3
import sys

from bench.errors import StoreError, store_error
from bench.secrecy import without_secrets

_LONGEST = 300


def failures() -> tuple[type[Exception], ...]:
    """What is raised when a server, a database, artifacts or the disk fails (requests' are OSErrors).

    Of what was imported: nothing else can have raised.
    """
    kinds: list[type[Exception]] = [OSError, ImportError, sqlite3.Error]
    if "mlflow" in sys.modules:
        from mlflow.exceptions import MlflowException

        kinds.append(MlflowException)
    if "sqlalchemy" in sys.modules:
        from sqlalchemy.exc import SQLAlchemyError

        kinds.append(SQLAlchemyError)
    if "botocore" in sys.modules:  # an extra
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        kinds += [Boto3Error, BotoCoreError, ClientError]
    return tuple(kinds)


def as_store_error(shown_uri: str, error: Exception) -> StoreError:
    """What is raised for a failure of the store at an address that is shown."""
    return store_error(f"{shown_uri}: {one_line(error)}", error)


def one_line(error: Exception) -> str:
    """Why MLflow failed, in one short line without secrets."""
    text = " ".join(str(error).split())
    if "Caused by" in text:  # requests wraps the reason three times
        text = "can't be reached (" + text.rpartition(": ")[2].strip("()'\" ") + ")"
    elif isinstance(error, ImportError):
        text = f"a driver is not installed ({text}); the extras [postgres] and [s3] have those of Postgres and S3"
    return without_secrets(text)[:_LONGEST] or type(error).__name__
