"""Passwords, tokens and keys: not shown, not sent with a job, not on command lines, not given to workers."""

import os
from pathlib import Path

import pytest
import ray

from bench.cluster.connect import ray_cluster
from bench.cluster.jobs import submit
from bench.errors import UsageError
from bench.secrecy import holds_secret, is_secret, kept_from_workers, without_secrets
from bench.suite import find_suite, load_suite

HELD = [
    "s3://KEY:hunter2@bucket/path",
    "https://hunter2@mlflow.example.org",
    "https://user:hunter2@mlflow.example.org",
    "https://mlflow.example.org/?access_token=hunter2",
    "https://mlflow.example.org/?page=1&api_key=hunter2",
    "postgresql+psycopg://user:p@ss/hunter2@host/db",
    "postgresql://host/db?user=u&sslpassword=hunter2",
    "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=hunter2&X-Amz-Date=1",
    "https://account.blob.core.windows.net/x?sv=2024&sig=hunter2",
    "https://mlflow.example.org/#access_token=hunter2&state=1",
    "https://mlflow.example.org/?api%5Fkey=hunter2",
    "https://mlflow.example.org/?API-Key=hunter2",
    "https://maps.example.org/?key=hunter2",
    "host=db user=u password=hunter2 sslmode=require",
]
# Of drivers and headers, as messages quote them.
QUOTED = ["host=db password='hunter2 two'", "Authorization: Bearer hunter2", "{'authorization': 'Basic hunter2'}"]
NOT_HELD = [
    "s3://bucket/path",
    "postgresql+psycopg://user@host/db?sslmode=require",
    "sqlite:////home/user/.bench/mlflow.db",
    "https://mlflow.example.org:5000/?page=1",
    "--max-lanes 4 --checkpoint-seconds 10",
    "https://mlflow.example.org/?monkey=1&author=me&signed=no",
    "translation(num_steps=3000, max_tokens=40, tokenizer=bytes)",
    "the key of the store, a token of text",
]


@pytest.mark.parametrize("text", [*HELD, *QUOTED])
def test_a_secret_is_seen_and_hidden(text):
    assert holds_secret(text)
    assert holds_secret(f"--checkpoints {text} --max-lanes 4")
    assert "hunter2" not in without_secrets(f"can't reach {text}: refused")


@pytest.mark.parametrize("text", NOT_HELD)
def test_what_holds_none_is_left(text):
    assert not holds_secret(text)
    assert without_secrets(text).replace("***@", "user@") == text


def test_values_of_secret_variables_are_hidden(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    monkeypatch.setenv("OTHER_TOKEN", "1")
    assert without_secrets("got hunter2 at 10:01") == "got *** at 10:01"


@pytest.mark.parametrize(
    "name", ["GITHUB_PAT", "OPENAI_KEY", "APIKEY", "HTTP_AUTHORIZATION", "GPG_PASSPHRASE", "MYSQL_PWD"]
)
def test_further_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["KEYBOARD", "XKEYS", "PATH", "AUTHOR", "RAY_AUTH_MODE", "SSH_AUTH_SOCK"])
def test_names_that_only_sound_so(name):
    assert not is_secret(name)


def test_addresses_with_secrets_are_kept_from_workers_whatever_their_names(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:hunter2@host/db")
    monkeypatch.setenv("SENTRY_DSN", "https://hunter2@sentry.example.org/1")
    monkeypatch.setenv("SOME_URL", "https://example.org")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy:3128")
    kept = kept_from_workers()
    assert {"MLFLOW_TRACKING_URI", "SENTRY_DSN"} <= set(kept)
    assert {"SOME_URL", "HTTPS_PROXY"}.isdisjoint(kept)


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "SSH_ASKPASS", "GIT_ASKPASS", "TOKENIZERS_PARALLELISM"])
def test_variables_with_names_like_those_of_secrets_hide_nothing(monkeypatch, name):
    """The current folder is in most paths that messages show, and a setting such as `false` in any text."""
    monkeypatch.setenv(name, "/home/user")
    assert without_secrets("sqlite:////home/user/.bench/mlflow.db") == "sqlite:////home/user/.bench/mlflow.db"


@pytest.mark.parametrize("where", ["tracking_uri", "store", "options"])
@pytest.mark.parametrize("secret", HELD)
def test_no_secret_goes_with_a_job(tmp_path, where, secret):
    path = find_suite("quickstart")
    places = {"tracking_uri": None, "store": "~/.bench", "options": ()}
    places[where] = ("--checkpoints", secret) if where == "options" else secret
    with pytest.raises(UsageError, match="password, token or key") as refused:
        submit(
            load_suite(path, allow_code=False),
            Path(path),
            address="http://127.0.0.1:9",
            home=tmp_path,
            allow_code=False,
            is_insecure=False,
            **places,
        )
    assert "hunter2" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.whole
def test_workers_inherit_no_secret_of_the_driver(monkeypatch):
    for name in ("MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "HF_TOKEN"):
        assert is_secret(name)
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the checkpoints")
    with ray_cluster():
        seen = ray.get(ray.remote(lambda: dict(os.environ)).remote())
        assert os.environ["PGPASSWORD"] == "hunter2"
    assert "hunter2" not in seen.values()
    assert seen["AWS_SECRET_ACCESS_KEY"] == "of the checkpoints"
