"""`bench data prepare|show|check`: the commands for text and speech as data. stdout is data, stderr is progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bench.cli.images import has_images, print_images
from bench.cli.options import AsJson
from bench.cli.pairs import NUMBERS, PairWishes, has_pairs, print_numbers, print_pairs
from bench.cli.recordings import SPOKEN_DIGITS, RecordingWishes, has_speech, print_speech, print_spoken_digits
from bench.cli.shared import EXIT_INTERRUPTED
from bench.cli.streams import printable, progress_stream
from bench.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from bench.data.text.prepared import CorpusFacts
    from bench.data.text.sources import Source

OnProgress = Callable[[str, float | None, int], None]
Written = TypeVar("Written")
PLAIN_SECONDS = 10.0  # between two lines where stderr is no terminal
SAMPLE_TOKENS = 200

data_app = typer.Typer(
    name="data",
    help="Prepare, show and check what models learn from: text, translations, speech, images.",
    no_args_is_help=True,
)

TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="of a text: bytes (default), characters, bpe, gpt2; of pairs: bpe (default), characters, bytes",
    ),
]


@data_app.command()
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="python, a file, a folder of texts or recordings, hf:owner/name(/config)"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="folder to make")],
    tokenizer: TokenizerOption = None,
    val_fraction: Annotated[float, typer.Option(help="share of the tokens, the last ones, that is held out")] = 0.1,
    text_field: Annotated[
        str | None, typer.Option(help="field of the text in a data set of hf: (default: text)")
    ] = None,
    split: Annotated[str | None, typer.Option(help="split of a data set of hf: (default: train)")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="stop after so many tokens")] = None,
    target: Annotated[
        Path | None, typer.Option(help="for translation: the file whose line i translates line i of SOURCE")
    ] = None,
    val_source: Annotated[Path | None, typer.Option(help="for translation: held-out lines")] = None,
    val_target: Annotated[Path | None, typer.Option(help="for translation: their translations")] = None,
    source_field: Annotated[str | None, typer.Option(help="for translation: field of the source, of hf:")] = None,
    target_field: Annotated[str | None, typer.Option(help="for translation: field of the target")] = None,
    val_split: Annotated[
        str | None, typer.Option(help="for translation and recordings: held-out split of a set of hf:")
    ] = None,
    vocabulary_size: Annotated[int | None, typer.Option(help="most ids of bpe (default: 8000)")] = None,
    audio_field: Annotated[str | None, typer.Option(help="for recordings: field of the audio, of hf:")] = None,
    speaker_field: Annotated[str | None, typer.Option(help="for recordings: field of the speaker")] = None,
    bands: Annotated[
        int | None, typer.Option(help="for recordings: bands of log-mel (default: 40 at 8 kHz, else 80)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn text, translations or recordings into a folder of token ids or frames, once; suites name the folder."""
    of_recordings = RecordingWishes(
        source=source,
        audio_field=audio_field,
        speaker_field=speaker_field,
        text_field=text_field,
        split=split,
        val_split=val_split,
        bands=bands,
    )
    of_pairs = PairWishes(
        source=source,
        target=target,
        val_source=val_source,
        val_target=val_target,
        source_field=source_field,
        target_field=target_field,
        split=split,
        val_split=val_split,
        vocabulary_size=vocabulary_size,
    )
    folder = out.expanduser().absolute()
    if of_recordings.are_any:
        others = (tokenizer, max_tokens, target, val_source, val_target, source_field, target_field, vocabulary_size)
        if any(value is not None for value in others):
            raise UsageError(f"{source}: of recordings, for which options of texts and translation have no meaning")
        _written(lambda update: of_recordings.write(folder, update))
        _say(f"wrote {folder}")
        print_speech(folder, as_json=as_json)
    elif of_pairs.are_any:
        if text_field is not None or max_tokens is not None:
            raise UsageError("--text-field and --max-tokens are for a text, and the other options for translation")
        _written(lambda update: of_pairs.write(folder, tokenizer or "bpe", val_fraction, update))
        _say(f"wrote {folder}")
        print_pairs(folder, as_json=as_json)
    else:
        from bench.data.text.prepared import read_facts
        from bench.data.text.sources import shown
        from bench.data.text.write import write_corpus

        text = _text(source, text_field, split)
        how = {"val_fraction": val_fraction, "max_tokens": max_tokens, "vocabulary_size": vocabulary_size}
        _written(lambda update: write_corpus(folder, text, tokenizer or "bytes", on_progress=update, **how))
        _say(f"wrote {shown(folder)}")
        _print_facts(read_facts(folder), as_json, {})


def _text(source: str, text_field: str | None, split: str | None) -> Source:
    """The text that a folder is made of. Raises UsageError for one that is prepared already."""
    from bench.data.text.corpus import prepared_tokenizer
    from bench.data.text.sources import HUB_PREFIX, find_source, shown

    if source.startswith(HUB_PREFIX):
        from bench.data.hub import hub_source

        return hub_source(source, text_field=text_field or "text", split=split or "train")
    if text_field is not None or split is not None:
        _say("--text-field and --split have no effect: they are for data sets of hf:")
    if prepared_tokenizer(source) is not None:
        raise UsageError(f"{shown(source)}: prepared already; suites can name it as it is")
    return find_source(source)


@data_app.command()
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="python, a file, a folder, a prepared one, images, numbers, or spoken_digits"
        ),
    ],
    tokenizer: TokenizerOption = None,
    as_json: AsJson = False,
) -> None:
    """Show what a corpus, prepared pairs or speech, or images hold: counts, digest, and a sample or accuracies."""
    if source in (made := {SPOKEN_DIGITS: print_spoken_digits, NUMBERS: print_numbers}):
        made[source](as_json=as_json)
        return
    if has_images(source):
        print_images(source, as_json=as_json)
        return
    if has_speech(folder := Path(source).expanduser().absolute()):
        print_speech(folder, as_json=as_json, has_sample=True)
        return
    if has_pairs(folder):
        print_pairs(folder, as_json=as_json, has_sample=True)
        return
    from bench.data.text.corpus import corpus_facts, open_corpus, prepared_tokenizer

    name = tokenizer or prepared_tokenizer(source) or "bytes"
    facts = _written(lambda update: corpus_facts(source, tokenizer=name, on_progress=update))
    corpus = open_corpus(source, tokenizer=name)
    _print_facts(facts, as_json, {"sample": corpus.decode(corpus.train[:SAMPLE_TOKENS])})


@data_app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="a prepared folder, or images")],
    as_json: AsJson = False,
) -> None:
    """Check a prepared folder: sizes, every id, digest; of images that each file is whole, and labels."""
    if has_images(str(folder)):
        print_images(str(folder), as_json=as_json)
        return
    if has_speech(folder := folder.expanduser().absolute()):
        from bench.data.speech.prepared import check_speech

        check_speech(folder)
        _say("sizes, ends, frames, labels and digest are right")
        print_speech(folder, as_json=as_json)
        return
    if has_pairs(folder):
        from bench.data.pairs.prepared import check_pairs

        check_pairs(folder)
        _say("sizes, ends, ids and digest are right")
        print_pairs(folder, as_json=as_json)
        return
    from bench.data.text.prepared import check_corpus

    facts = check_corpus(folder.expanduser().absolute())
    _say("sizes, ids and digest are right")
    _print_facts(facts, as_json, {})


def _print_facts(facts: CorpusFacts, as_json: bool, more: dict[str, str]) -> None:
    plain: dict[str, Any] = {key: value for key, value in asdict(facts).items() if key != "vocabulary"} | more
    if as_json:
        print(json.dumps(plain, indent=2))
        return
    num_skipped = facts.num_files - facts.num_documents
    files = f", {facts.num_files:,} files" if facts.num_files > 1 else ""
    files += f" ({num_skipped:,} skipped, not text in UTF-8)" if num_skipped > 0 else ""
    print(f"source: {printable(facts.source)}{files}")
    print(f"tokenizer: {facts.tokenizer}, {facts.vocabulary_size:,} ids ({facts.dtype})")
    print(f"tokens: {facts.num_train + facts.num_val:,} ({facts.num_train:,} train, {facts.num_val:,} held out)")
    print(f"digest: {facts.digest}")
    if "sample" in more:
        print(f"sample:\n{printable(more['sample'])}")


def _written(write: Callable[[OnProgress], Written]) -> Written:
    """What a function that tells its progress gives; Ctrl-C ends the command."""
    try:
        with _Progress() as progress:
            return write(progress.update)
    except KeyboardInterrupt:
        _say("stopped; nothing half-built is left")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


class _Progress:
    """A bar on stderr where that is a terminal, a line now and then elsewhere; made at the first news."""

    def __init__(self) -> None:
        self._next_line = time.monotonic() + PLAIN_SECONDS
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, what: str, share: float | None, num_tokens: int) -> None:
        """What is being done, the share of it that is done, and the tokens so far."""
        text = f"{num_tokens:,} tokens" if num_tokens else ""
        if not sys.stderr.isatty():
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + PLAIN_SECONDS
                _say(", ".join(part for part in (what, "" if share is None else f"{share:.0%}", text) if part))
            return
        if self._bar is None:
            self._bar = self._started(what)
        self._bar.update(self._task, description=what, total=None if share is None else 1.0, completed=share, text=text)

    def _started(self, what: str) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        left, right = TextColumn("{task.description}"), TextColumn("{task.fields[text]}")
        console = Console(file=progress_stream())
        bar = Progress(left, BarColumn(), right, TimeRemainingColumn(), console=console, transient=True)
        self._task = bar.add_task(what, total=None, text="")
        bar.start()
        return bar
