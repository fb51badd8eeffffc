"""What `bench data prepare` was asked for, whichever kind of data it turns out to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

SourceArgument = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="python, a file, a folder of texts or recordings, hf:owner/name(/config)"),
]
PreparedOption = Annotated[Path, typer.Option("--out", help="folder to make")]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="of a text: bytes (default), characters, bpe, gpt2; of pairs: bpe (default), characters, bytes",
    ),
]
ValFractionOption = Annotated[float, typer.Option(help="share of the tokens, the last ones, that is held out")]
TextFieldOption = Annotated[str | None, typer.Option(help="field of the text in a data set of hf: (default: text)")]
SplitOption = Annotated[str | None, typer.Option(help="split of a data set of hf: (default: train)")]
MaxTokensOption = Annotated[int | None, typer.Option(help="stop after so many tokens")]
TargetOption = Annotated[
    Path | None, typer.Option(help="for translation: the file whose line i translates line i of SOURCE")
]
ValSourceOption = Annotated[Path | None, typer.Option(help="for translation: held-out lines")]
ValTargetOption = Annotated[Path | None, typer.Option(help="for translation: their translations")]
SourceFieldOption = Annotated[str | None, typer.Option(help="for translation: field of the source, of hf:")]
TargetFieldOption = Annotated[str | None, typer.Option(help="for translation: field of the target")]
ValSplitOption = Annotated[
    str | None, typer.Option(help="for translation and recordings: held-out split of a set of hf:")
]
VocabularySizeOption = Annotated[int | None, typer.Option(help="most ids of bpe (default: 8000)")]
AudioFieldOption = Annotated[str | None, typer.Option(help="for recordings: field of the audio, of hf:")]
SpeakerFieldOption = Annotated[str | None, typer.Option(help="for recordings: field of the speaker")]
BandsOption = Annotated[
    int | None, typer.Option(help="for recordings: bands of log-mel (default: 40 at 8 kHz, else 80)")
]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The source of a prepared folder and the options of `bench data prepare`; None where one was not given."""

    source: str
    val_fraction: float
    tokenizer: str | None
    text_field: str | None
    split: str | None
    max_tokens: int | None
    target: Path | None
    val_source: Path | None
    val_target: Path | None
    source_field: str | None
    target_field: str | None
    val_split: str | None
    vocabulary_size: int | None
    audio_field: str | None
    speaker_field: str | None
    bands: int | None

    def has_any(self, *names: str) -> bool:
        """Whether one of these options was given."""
        return any(getattr(self, name) is not None for name in names)
