"""Text of a data set on the Hugging Face hub, as a stream; the only file that knows `datasets`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

from bench.data.sources import HUB_PREFIX, Source, shown
from bench.data.tokenizers import TEXT_EXTRA
from bench.errors import UsageError


def hub_source(name: str, *, text_field: str, split: str) -> Source:
    """The rows of a split of `hf:owner/name` or `hf:owner/name/config`, one document a row; or of a local folder.

    Raises UsageError if `datasets` is missing; while reading, if there is no such data set, split or field.
    """
    rest = name.removeprefix(HUB_PREFIX)
    if os.path.isdir(rest):
        path, config = rest, None
    else:
        parts = rest.split("/")
        if not all(parts) or len(parts) > 3:
            raise UsageError(f"{shown(name)}: must be hf:owner/name or hf:owner/name/config")
        path, config = "/".join(parts[:2]), parts[2] if len(parts) == 3 else None
    # Read by huggingface_hub when it is imported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"{shown(name)}: needs datasets: {TEXT_EXTRA}") from error
    for library in ("datasets", "huggingface_hub"):  # their warnings would tear the progress bar
        logging.getLogger(library).setLevel(logging.ERROR)

    def documents() -> Iterator[Iterator[str]]:
        rows = _rows(datasets, name, path, config, split)
        for number, row in enumerate(rows):
            text = row.get(text_field)
            if not isinstance(text, str):
                raise UsageError(
                    f"{shown(name)}: row {number} has no text in the field {text_field!r}; fields that exist: "
                    f"{', '.join(row)}"
                )
            if text:
                yield iter([text])

    return Source(name=name, stamps=(), documents=documents, is_separated=True)


def _rows(datasets: Any, name: str, path: str, config: str | None, split: str) -> Iterator[dict[str, Any]]:
    from huggingface_hub.errors import HfHubHTTPError

    # Errors of the connection itself are the client's, which is requests, httpx or httpx2 by version.
    client_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield from datasets.load_dataset(path, config, split=split, streaming=True)
    except (OSError, ValueError, RuntimeError, KeyError, client_error, datasets.exceptions.DatasetsError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else "no message"
        raise UsageError(f"{shown(name)}: can't be read: {type(error).__name__}: {reason}") from error
