"""Our scores beside published ones (the frame of analysis.leaderboard.compare) as text in five formats."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import polars as pl

from analysis.leaderboard import rank_correlations
from analysis.tables import breakable, escape_latex, escape_markdown, number

_TITLES = ("Method", "Ours", "95% interval", "Our rank", "Paper", "Paper rank")


def _sections(compared: pl.DataFrame) -> list[tuple[str, list[tuple[str, ...]]]]:
    """(heading, rows of text) for every (workload, optimizer, knobs)."""
    group = ["workload", "optimizer", "knobs"]
    correlations = {row[:3]: row[3:] for row in rank_correlations(compared).iter_rows()}
    sections = []
    for key, rows in compared.group_by(group, maintain_order=True):
        spearman, kendall, num_methods = correlations[key]
        heading = ", ".join(str(part) for part in key if part)
        heading += f": rank correlation over {num_methods} methods, Spearman {number(spearman, 2)}, "
        heading += f"Kendall {number(kendall, 2)}"
        cells = [
            (
                row["method"],
                number(row["lr_sensitivity"], 2),
                "–" if row["ci_low"] is None else f"[{number(row['ci_low'], 2)}, {number(row['ci_high'], 2)}]",
                str(row["our_rank"]),
                number(row["paper_lr_sensitivity"], 2),
                str(row["paper_rank"]),
            )
            for row in rows.iter_rows(named=True)
        ]
        sections.append((heading, cells))
    return sections


def _sources(compared: pl.DataFrame) -> str:
    return "Source: " + "; ".join(compared["source"].unique().sort()) + ". Ranks by value alone."


def comparison_markdown(compared: pl.DataFrame) -> str:
    """A pipe table for each (workload, optimizer, knobs), with rank correlations, then the source."""
    parts = []
    for heading, rows in _sections(compared):
        parts += [f"{escape_markdown(heading)}\n", "| " + " | ".join(_TITLES) + " |"]
        parts.append("| --- | ---: | ---: | ---: | ---: | ---: |")
        parts += ["| " + " | ".join(escape_markdown(cell) for cell in row) + " |" for row in rows]
        parts.append("")
    return "\n".join([*parts, escape_markdown(_sources(compared)), ""])


def comparison_html(compared: pl.DataFrame) -> str:
    """A fragment like `comparison_markdown`; every name escaped."""
    head = "".join(f'<th class="{"l" if title == "Method" else "r"}">{title}</th>' for title in _TITLES)
    parts = []
    for heading, rows in _sections(compared):
        lines = []
        for method, *numbers in rows:
            cells = "".join(f'<td class="r">{html.escape(cell)}</td>' for cell in numbers)
            lines.append(f'<tr><td class="l method">{breakable(method)}</td>{cells}</tr>')
        body = "\n".join(lines)
        parts.append(f"<h3>{html.escape(heading)}</h3>")
        parts.append(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')
    return "\n".join(parts) + f"\n<p>{html.escape(_sources(compared))}</p>"


def comparison_latex(compared: pl.DataFrame) -> str:
    """A booktabs `table` for each (workload, optimizer, knobs); needs \\usepackage{booktabs}."""
    parts = [r"% needs \usepackage{booktabs}"]
    for heading, rows in _sections(compared):
        parts += [r"\begin{table}[t]", r"\centering"]
        parts.append(rf"\caption{{{escape_latex(f'{heading}. {_sources(compared)}')}}}")
        parts += [r"\begin{tabular}{lrrrrr}", r"\toprule"]
        parts += [" & ".join(escape_latex(title) for title in _TITLES) + r" \\", r"\midrule"]
        parts += [" & ".join(escape_latex(cell).replace("–", "--") for cell in row) + r" \\" for row in rows]
        parts += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(parts) + "\n"


COMPARISON_FORMATS: dict[str, Callable[[pl.DataFrame], str]] = {
    "markdown": comparison_markdown,
    "html": comparison_html,
    "latex": comparison_latex,
    "csv": lambda compared: compared.write_csv(),
    "json": lambda compared: json.dumps(compared.to_dicts(), indent=1, allow_nan=False) + "\n",
}
