"""Texts, pairs of them, or recordings of a data set on the Hugging Face hub; the only file that knows `datasets`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from bench.data.pairs.sources import PairSource
from bench.data.speech.recordings import HELD_OUT_EVERY, Recording, Recordings
from bench.data.text.sources import HUB_PREFIX, Source, one_line
from bench.data.text.tokenizers import TEXT_EXTRA
from bench.errors import UsageError


def hub_source(name: str, *, text_field: str, split: str) -> Source:
    """The rows of a split of `hf:owner/name` or `hf:owner/name/config`, one document a row; or of a local folder.

    Raises UsageError if `datasets` is missing; while reading, if there is no such data set, split or field.
    """
    rows = _data_set(name, split)

    def documents() -> Iterator[Iterator[str]]:
        for number, row in enumerate(rows()):
            text = _text(name, number, row, text_field)
            if text:
                yield iter([text])

    return Source(name=name, stamps=(), documents=documents, is_separated=True)


def hub_pairs(name: str, *, fields: tuple[str, str], split: str) -> PairSource:
    """The rows of a split, a pair each, of `hf:owner/name` or `hf:owner/name/config` or a local folder.

    fields: of source and target; dots lead into a field of fields, `translation.en`. Rows with an empty side are left
    out. Raises what hub_source raises.
    """
    rows = _data_set(name, split)

    def pairs() -> Iterator[tuple[str, str]]:
        for number, row in enumerate(rows()):
            source, target = (_text(name, number, row, field) for field in fields)
            if source.strip() and target.strip():
                yield source, target

    def places(number: int) -> tuple[str, str]:
        place = f"{one_line(name)}: pair {number}"
        return place, place

    return PairSource(names=(f"{name} {fields[0]}", f"{name} {fields[1]}"), pairs=pairs, places=places)


def hub_recordings(name: str, *, fields: tuple[str, str, str | None], splits: tuple[str, str | None]) -> Recordings:
    """The rows of a split, a recording each, of `hf:owner/name` or `hf:owner/name/config` or a local folder.

    fields: of the audio, whose bytes are not decoded by `datasets`, of the transcript and of the speaker, without which
    all are one's. splits: for training, and held out; None: every tenth row. Raises what hub_source raises.
    """
    audio_field, text_field, speaker_field = fields

    def recordings() -> Iterator[Recording]:
        for split, is_val in ((splits[0], False), (splits[1], True)):
            for number, row in enumerate(_data_set(name, split, audio_field)() if split else ()):
                content = _bytes(name, number, row, audio_field)
                yield Recording(
                    place=f"{one_line(name)}: row {number} of {split}",
                    speaker=str(row.get(speaker_field)) if speaker_field else "",
                    text=_text(name, number, row, text_field),
                    is_held_out=is_val or (splits[1] is None and number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1),
                    content=lambda content=content: content,
                )

    return Recordings(name=name, count=None, each=recordings)


def _bytes(name: str, number: int, row: dict[str, Any], field: str) -> bytes:
    """The content of the file in a field of a row. Raises UsageError if there is none."""
    value = row.get(field)
    content = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(content, bytes):
        raise UsageError(
            f"{one_line(name)}: row {number} has no audio in the field {field!r}; fields that exist: {', '.join(row)}"
        )
    return content


def _data_set(name: str, split: str, audio_field: str = "") -> Callable[[], Iterator[dict[str, Any]]]:
    """A function that reads the rows of a split, audio as bytes.

    Raises UsageError for a bad name, or if `datasets` is missing.
    """
    rest = name.removeprefix(HUB_PREFIX)
    if os.path.isdir(rest):
        path, config = rest, None
    else:
        parts = rest.split("/")
        if not all(parts) or len(parts) > 3:
            raise UsageError(f"{one_line(name)}: must be hf:owner/name or hf:owner/name/config")
        path, config = "/".join(parts[:2]), parts[2] if len(parts) == 3 else None
    # Read by huggingface_hub when it is imported.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"{one_line(name)}: needs datasets: {TEXT_EXTRA}") from error
    for library in ("datasets", "huggingface_hub"):  # their warnings would tear the progress bar
        logging.getLogger(library).setLevel(logging.ERROR)
    return lambda: _rows(datasets, name, path, config, split, audio_field)


def _text(name: str, number: int, row: dict[str, Any], field: str) -> str:
    """The text in a field of a row. Raises UsageError if there is none."""
    value: Any = row
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise UsageError(
            f"{one_line(name)}: row {number} has no text in the field {field!r}; fields that exist: {', '.join(row)}"
        )
    return value


def _rows(
    datasets: Any, name: str, path: str, config: str | None, split: str, audio_field: str
) -> Iterator[dict[str, Any]]:
    from huggingface_hub.errors import HfHubHTTPError

    # Errors of the connection itself are the client's, which is requests, httpx or httpx2 by version.
    client_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        rows = datasets.load_dataset(path, config, split=split, streaming=True)
        if audio_field and isinstance((rows.features or {}).get(audio_field), datasets.Audio):
            rows = rows.cast_column(audio_field, datasets.Audio(decode=False))
        yield from rows
    except (OSError, ValueError, RuntimeError, KeyError, client_error, datasets.exceptions.DatasetsError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else "no message"
        raise UsageError(f"{one_line(name)}: can't be read: {type(error).__name__}: {reason}") from error
