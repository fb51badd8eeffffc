"""Flags: words on a score that say what makes it misleading, and the one form of text that frames keep them in."""

from __future__ import annotations

from collections.abc import Collection

from bench.lazy import polars as pl

FLAGS: dict[str, str] = {
    "at_chance": "The best loss is within 5% of the loss at init: the method hardly learned, so a sensitivity near 0 "
    "means nothing, and it gets no rank.",
    "control": "An A/A control: the function of another entry by other operations, so it gets no rank; its difference "
    "from that entry is what rounding does.",
    "learned_little": "It learned less than half of what the best entry with the same optimizer and knobs did: with "
    "little to lose, a low sensitivity comes easily.",
    "best_at_border": "The best learning rate, or value of the knob scored, is the smallest or largest of the grid: "
    "the optimum may lie outside (not said of the values 0 and infinity, beyond which nothing lies).",
    "lr_at_border": "At some value of the knob the best learning rate is the smallest or largest of the grid: the "
    "least loss there may be lower than stated.",
    "coarse_cliff": "If the cliff, from a stable learning rate to an unstable one next above it, lay one grid step "
    "further on, the score would change by more than 25%: the grid is too coarse there.",
    "cliff_wanders": "The largest stable learning rates of its seeds have a standard deviation above 0.3 decades and "
    "lie more than one grid step apart: at a rate near the cliff a further seed may diverge that those at hand did "
    "not, and the intervals of best_loss and loss_at_default reach up by what that may cost.",
    "lr_shifted": "Its curve is that of softmax moved along log lr by 0.3 decades or more (moved back, it lies three "
    "times as near at least): the method changes what a learning rate means, and the score depends on where the grid "
    "lies.",
    "needs_seeds": "The seeds do not tell it from the next method with the same optimizer and knobs: the 95% interval "
    "of their difference contains 0.",
    "unpaired": "Its seeds are not those of most entries of the workload, so it is compared with them unpaired, by "
    "Welch's t-test.",
    "init_varies": "The loss at init, which clips the score, differs by more than 5% between the knob's values.",
    "few_seeds": "Fewer than 3 seeds: the interval is missing or very wide.",
    "incomplete": "Some learning rates, or values of the knob, lack some seeds: means are over what is there.",
    "lost_trials": "Some trials crashed, ran out of memory or timed out; they are left out until run again.",
    "blown_up": "Some trials completed with a final loss above their loss at init, by more than a margin (10% of it, "
    "unless the suite or the import sets another): no divergence, which is a loss that is not finite, and no training.",
    "other_grid": "The learning rates, or values of the knob, differ from those of most entries of the workload: the "
    "score is a mean over them, so compare with care.",
    "no_init_loss": "The loss before any update, at which scores clip, is not finite or not known for some of its "
    "trials: no score and no rank. Of a knob's score: values of the knob at which it is so are left out.",
    "one_lr": "It has results at one learning rate alone: there is no sensitivity to it, no width of stable learning "
    "rates, and no rank.",
    "no_result": "None of its trials has a result: all crashed, ran out of memory or timed out. No score and no rank.",
    "imported": "Runs of others, imported from a file: trained elsewhere, with traces only where the file has values "
    "by step; what it does not say is assumed (manifest, imports).",
}

# Who bears one of these did not learn enough for its score to count.
NOT_LEARNED: tuple[str, ...] = ("at_chance", "learned_little")
# Who bears one of these has no sensitivity, and so no rank.
NOT_SCORED: tuple[str, ...] = ("no_init_loss", "no_result", "one_lr")

_BETWEEN = ","


def flag_text(raised: Collection[str]) -> str:
    """The text of a column `flags`: the flags in the order of FLAGS, commas between; "" for none."""
    return _BETWEEN.join(word for word in FLAGS if word in raised)


def flags_of(text: str) -> tuple[str, ...]:
    """The flags of a text of `flag_text`, in its order."""
    return tuple(filter(None, text.split(_BETWEEN)))


def has_learned(text: str) -> bool:
    """Whether none of NOT_LEARNED and NOT_SCORED is among the flags of the text."""
    return {*NOT_LEARNED, *NOT_SCORED}.isdisjoint(flags_of(text))


def has_flag(flag: str) -> pl.Expr:
    """True where the column `flags` has the flag."""
    return pl.col("flags").str.split(_BETWEEN).list.contains(flag)


def with_flag(flag: str) -> pl.Expr:
    """The column `flags` with one more flag, behind those that it has."""
    return pl.concat_str(pl.col("flags").replace("", None), pl.lit(flag), separator=_BETWEEN, ignore_nulls=True)


def used_flags(frame: pl.DataFrame) -> set[str]:
    """All flags in the column `flags`, nulls aside; none without such a column."""
    texts = frame["flags"].drop_nulls().unique() if "flags" in frame.columns else ()
    return {flag for text in texts for flag in flags_of(text)}


def word_of(flag: str) -> str:
    """A flag as readers see it."""
    return flag.replace("_", " ")
