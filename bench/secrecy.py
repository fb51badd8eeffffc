"""What a secret is: variables, and parts of addresses, that are never shown, stored, sent, or given to workers."""

from __future__ import annotations

import os
import re

_WORDS = r"(?:pass|pwd|token|secret|api_?key|access_?key|private_?key|signature|credential)"
_VARIABLE = re.compile(_WORDS, re.IGNORECASE)
# Names like those of secrets: where a shell is and was, which program asks for a password, settings of tokenizers.
_NO_SECRET = re.compile(r"(?:OLD)?PWD|\w*ASKPASS|\w*TOKENIZ\w*", re.IGNORECASE)
_PARAMETER = re.compile(rf"([?&;][^=&;\s'\"]*{_WORDS}[^=&;\s'\"]*=)[^&;\s'\"]*", re.IGNORECASE)
_USER = re.compile(r"://[^\s'\"]*@")  # a password may hold / and @
_PASSWORD = re.compile(r"://[^\s'\"]*:[^\s'\"]*@")
_TOKEN = re.compile(r"\bhttps?://[^\s'\"]+@", re.IGNORECASE)  # for whom a user alone is a token
_OF_WORKERS = ("AWS_", "RAY_")  # checkpoints in S3 and Ray itself need theirs


def is_secret(variable: str) -> bool:
    """Whether the name of an environment variable says that its value is a secret."""
    return bool(_VARIABLE.search(variable)) and not _NO_SECRET.fullmatch(variable)


def holds_secret(text: str) -> bool:
    """Whether an address, or a command with addresses, holds a password, a token or a key."""
    return any(pattern.search(text) for pattern in (_PASSWORD, _TOKEN, _PARAMETER))


def without_secrets(text: str) -> str:
    """Text without users and passwords of addresses, secrets among their parameters, and values of such variables."""
    text = _PARAMETER.sub(r"\1***", _USER.sub("://***@", text))
    for name, value in os.environ.items():
        if is_secret(name) and len(value) > 3:  # "1" is none, and stands everywhere
            text = text.replace(value, "***")
    return text


def kept_from_workers() -> list[str]:
    """The variables here that hold a secret which no worker needs: all but those of S3 and of Ray."""
    return [name for name in os.environ if is_secret(name) and not name.startswith(_OF_WORKERS)]
