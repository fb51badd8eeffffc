"""What goes with the tables of a bundle: captions of two lines, and in the methods text, once, what they show."""

from __future__ import annotations

import polars as pl

from analysis.losses import SCORED_LOSSES
from analysis.paper.prose import Text
from analysis.scores.flags import FLAGS, used_flags, word_of
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.tables.leaderboard import notes_on_entries
from analysis.text import counted

DEFINED_ELSEWHERE = "Definitions: in the paragraph of methods."
_DEFINED = (*BOARD_SCORES[1:], "final_loss_spread")  # lr_sensitivity has a sentence of its own


def seeds_words(board: pl.DataFrame) -> str:
    """How many seeds the entries have, in words."""
    least, most = board["num_seeds"].min(), board["num_seeds"].max()
    return counted(int(board["num_seeds"][0]), "seed") if least == most else f"{least} to {most} seeds"


def board_caption(board: pl.DataFrame, workload: str) -> str:
    """The caption of a leaderboard: what it is of, and how brackets, bold and ranks are read."""
    losses = " and ".join(SCORED_LOSSES[name].title for name in board["loss"].unique().sort())
    return (
        f"Robustness on {workload}, scores of the {losses}. Brackets: 95% interval over {seeds_words(board)}; bold: "
        f"the best that learned; rank: the ranks that the seeds leave possible. {DEFINED_ELSEWHERE}"
    )


def tables_text(board: pl.DataFrame) -> Text:
    """Sentences that define what tables show beside the score: further columns, marks, and the flags that occur."""
    scores = [SCORE_KINDS[name] for name in _DEFINED if name not in board.columns or board[name].is_not_null().any()]
    flags = [f"{word_of(flag)}: {meaning.rstrip('.')}" for flag, meaning in FLAGS.items() if flag in used_flags(board)]
    parts = [
        "In tables, " + "; ".join(f"{score.title.lower()} is the {score.definition}" for score in scores) + ".",
        "What is in bold is the best that learned; entries at chance or with one seed have no rank.",
        *notes_on_entries(board),
        *(["Letters of entries say: " + "; ".join(flags) + "."] if flags else []),
    ]
    return [" ".join(parts)]
