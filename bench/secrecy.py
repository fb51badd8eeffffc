"""What a secret is: variables, and parts of addresses, that are never shown, stored, sent, or given to workers."""

from __future__ import annotations

import os
import re

_WORDS = r"(?:pass|pwd|token|secret|api_?key|access_?key|private_?key|signature|credential)"
_VARIABLE = re.compile(rf"{_WORDS}|authorization|(?:^|_)(?:key|pat|auth|bearer|cookie)$", re.IGNORECASE)
# Names like those of secrets: where a shell is and was, which program asks for a password, settings of tokenizers.
_NO_SECRET = re.compile(r"(?:OLD)?PWD|\w*ASKPASS|\w*TOKENIZ\w*", re.IGNORECASE)
# Of addresses; a fragment may be one, and Azure signs by `sig`. Spelled in percent, too: api%5Fkey.
_NAMED = rf"[^=&;#\s'\"]*{_WORDS.replace('_?', '(?:_|-|%5f|%2d)?')}[^=&;#\s'\"]*|sig|key|auth|pat|code"
_PARAMETER = re.compile(rf"([?&;#](?:{_NAMED})=)[^&;#\s'\"]*", re.IGNORECASE)
# Of drivers of databases, between spaces (host=h password=p), and of headers.
_SETTING = re.compile(r"((?:^|\s)\w*(?:password|passwd|passphrase|secret)\w*\s?=\s?)('[^']*'|[^\s'\"]+)", re.IGNORECASE)
_HEADER = re.compile(r"(authorization['\"]?\s*[:=]\s*['\"]?)(?:(?:bearer|basic|token)\s+)?[^\s'\"]+", re.IGNORECASE)
_USER = re.compile(r"://[^\s'\"]*@")  # a password may hold / and @
_PASSWORD = re.compile(r"://[^\s'\"]*:[^\s'\"]*@")
_TOKEN = re.compile(r"\bhttps?://[^\s'\"]+@", re.IGNORECASE)  # for whom a user alone is a token
_NAMING = (_PARAMETER, _SETTING, _HEADER)
_OF_WORKERS = ("AWS_", "RAY_")  # checkpoints in S3 and Ray itself need theirs
_PROXY = re.compile(r"\w+_PROXY", re.IGNORECASE)  # S3 may be reached through one


def is_secret(variable: str) -> bool:
    """Whether the name of an environment variable says that its value is a secret."""
    return bool(_VARIABLE.search(variable)) and not _NO_SECRET.fullmatch(variable)


def holds_secret(text: str) -> bool:
    """Whether an address, or a command with addresses, holds a password, a token or a key."""
    return any(pattern.search(text) for pattern in (_PASSWORD, _TOKEN, *_NAMING))


def without_secrets(text: str) -> str:
    """Text without users and passwords of addresses, secrets among their parameters, and values of such variables."""
    text = _USER.sub("://***@", text)
    for pattern in _NAMING:
        text = pattern.sub(r"\1***", text)
    for name, value in os.environ.items():
        if is_secret(name) and len(value) > 3:  # "1" is none, and stands everywhere
            text = text.replace(value, "***")
    return text


def kept_from_workers() -> list[str]:
    """The variables here that hold a secret which no worker needs, by name or as an address: not S3's, Ray's, proxies'.

    MLFLOW_TRACKING_URI with a password is one.
    """
    return [
        name
        for name, value in os.environ.items()
        if (is_secret(name) or (holds_secret(value) and not _PROXY.fullmatch(name)))
        and not name.startswith(_OF_WORKERS)
    ]
