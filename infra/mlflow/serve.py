"""Start MLflow's server with basic authentication; all settings and secrets come from the environment.

MLflow reads the address of the user database from an ini file alone, and that address holds a password. So the file is
written at each start, readable by this user only, and belongs on a tmpfs.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path

REQUIRED = (
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_AUTH_DATABASE_URI",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_AUTH_CONFIG_PATH",
)


def main() -> None:
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if missing:
        sys.exit(f"required in the environment: {', '.join(missing)}")
    write_ini(Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"]), database_uri=os.environ["MLFLOW_AUTH_DATABASE_URI"])
    # Addresses and secrets reach the server through its environment: a command line is readable by every process.
    os.execvp(sys.executable, [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *sys.argv[1:]])


def write_ini(path: Path, *, database_uri: str) -> None:
    """The file that MLFLOW_AUTH_CONFIG_PATH names, without the administrator's password: the environment has it."""
    config = configparser.ConfigParser()
    config["mlflow"] = {
        # Whoever has an account reads all results; only who made an experiment writes to it.
        "default_permission": "READ",
        "database_uri": database_uri.replace("%", "%%"),  # a password's escapes are no interpolation
    }
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        config.write(file)


if __name__ == "__main__":
    main()
