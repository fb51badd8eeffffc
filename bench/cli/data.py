"""`bench data prepare|show|check`: the commands for what models learn from. stdout is data, stderr is progress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.images import has_images, print_images
from bench.cli.options import AsJson
from bench.cli.pairs import NUMBERS, are_pairs, has_pairs, prepare_pairs, print_numbers, print_pairs
from bench.cli.preparation import (
    AudioFieldOption,
    BandsOption,
    MaxTokensOption,
    Preparation,
    PreparedOption,
    SourceArgument,
    SourceFieldOption,
    SpeakerFieldOption,
    SplitOption,
    TargetFieldOption,
    TargetOption,
    TextFieldOption,
    TokenizerOption,
    ValFractionOption,
    ValSourceOption,
    ValSplitOption,
    ValTargetOption,
    VocabularySizeOption,
)
from bench.cli.recordings import (
    SPOKEN_DIGITS,
    are_recordings,
    has_speech,
    prepare_speech,
    print_speech,
    print_spoken_digits,
)
from bench.cli.shared import say
from bench.cli.texts import prepare_text, print_text, print_text_facts
from bench.cli.writing import with_progress

SAMPLE_TOKENS = 200

data_app = typer.Typer(
    name="data",
    help="Prepare, show and check what models learn from: text, translations, speech, images.",
    no_args_is_help=True,
)


@data_app.command()
def prepare(
    source: SourceArgument,
    out: PreparedOption,
    tokenizer: TokenizerOption = None,
    val_fraction: ValFractionOption = 0.1,
    text_field: TextFieldOption = None,
    split: SplitOption = None,
    max_tokens: MaxTokensOption = None,
    target: TargetOption = None,
    val_source: ValSourceOption = None,
    val_target: ValTargetOption = None,
    source_field: SourceFieldOption = None,
    target_field: TargetFieldOption = None,
    val_split: ValSplitOption = None,
    vocabulary_size: VocabularySizeOption = None,
    audio_field: AudioFieldOption = None,
    speaker_field: SpeakerFieldOption = None,
    bands: BandsOption = None,
    as_json: AsJson = False,
) -> None:
    """Turn text, translations or recordings into a folder of token ids or frames, once; suites name the folder."""
    asked = Preparation(
        source=source,
        val_fraction=val_fraction,
        tokenizer=tokenizer,
        text_field=text_field,
        split=split,
        max_tokens=max_tokens,
        target=target,
        val_source=val_source,
        val_target=val_target,
        source_field=source_field,
        target_field=target_field,
        val_split=val_split,
        vocabulary_size=vocabulary_size,
        audio_field=audio_field,
        speaker_field=speaker_field,
        bands=bands,
    )
    folder = out.expanduser().absolute()
    make, show_made = prepare_text, print_text
    if are_recordings(asked):
        make, show_made = prepare_speech, print_speech
    elif are_pairs(asked):
        make, show_made = prepare_pairs, print_pairs
    with_progress(lambda update: make(asked, folder, update))
    say(f"wrote {folder}")
    show_made(folder, as_json=as_json)


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
    facts = with_progress(lambda update: corpus_facts(source, tokenizer=name, on_progress=update))
    corpus = open_corpus(source, tokenizer=name)
    print_text_facts(facts, as_json=as_json, sample=corpus.decode(corpus.train[:SAMPLE_TOKENS]))


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
        say("sizes, ends, frames, labels and digest are right")
        print_speech(folder, as_json=as_json)
        return
    if has_pairs(folder):
        from bench.data.pairs.prepared import check_pairs

        check_pairs(folder)
        say("sizes, ends, ids and digest are right")
        print_pairs(folder, as_json=as_json)
        return
    from bench.data.text.prepared import check_corpus

    facts = check_corpus(folder.expanduser().absolute())
    say("sizes, ids and digest are right")
    print_text_facts(facts, as_json=as_json)
