"""The READMEs: what their generated parts must hold. `python -m tests.documentation` writes those parts anew.

A part stands between `<!-- made by: COMMAND -->` and `<!-- end -->`. COMMAND is `bench list KIND --format md`, or
`python -m tests.documentation flags`, `detectors`, `formats`, `costs`, `rooms PACKAGE`, `claims`, `board SUITE`,
`pruning`, `fronts` or `replay SUITE`, which print the same.
"""

import ast
import functools
import itertools
import math
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import polars

from analysis.scores.causes.detectors import DETECTORS
from analysis.scores.flags import FLAGS
from bench.imports.formats import as_tidy
from bench.imports.tidy_file import read_tidy
from bench.imports.wishes import Wishes
from bench.suite import find_suite, shipped_suites
from bench.suite.catalog import list_markdown, prose_markdown
from tests.bench.imports.files_of_others import EXAMPLES
from tests.bench.search import replay_front, replay_pruning
from tests.bench.search.replay_box import BUDGETS, replays, summary, to_target
from tests.published import board, claims, comparison

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- made by: (?P<command>.+?) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)


def readmes() -> list[Path]:
    """Every README.md of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines()]


def made_anew(text: str) -> str:
    """A README with each of its parts as its command prints it."""
    return PART.sub(lambda part: f"{part[1]}{printed(part['command'])}{part[4]}", text)


@functools.cache
def printed(command: str) -> str:
    """What a command of a part prints."""
    match command.split():
        case ["bench", "list", kind, "--format", "md"]:
            return list_markdown(kind)
        case ["python", "-m", "tests.documentation", what, *words] if what in PRINTERS:
            return PRINTERS[what](*words)
    raise ValueError(f"no part of a README is made by {command!r}")


def flags_markdown() -> str:
    """Every flag with its rule."""
    return _table(("flag", "raised when"), [(f"`{name}`", prose_markdown(rule)) for name, rule in FLAGS.items()])


def detectors_markdown() -> str:
    """Every detector of failure: what it watches, of which layer, and on which side of its threshold it alarms."""
    rows = [
        (f"`{name}`", prose_markdown(one.title), f"`{one.quantity}`", one.over_layers, one.alarms_when)
        for name, one in DETECTORS.items()
    ]
    return _table(("detector", "what it is", "quantity", "over layers", "alarms when"), rows)


def rooms_markdown(package: str) -> str:
    """The rooms and root modules of a package from the top layer down, each with the first line of its docstring."""
    return _table(("room", "what it is for"), [(f"`{name}`", _first_line(path)) for name, path in _rooms(package)])


def formats_markdown() -> str:
    """Every format that `bench import` reads: rows of its file in the tests, runs, traces, and what was left out."""
    rows = []
    for name, (text, wishes) in EXAMPLES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "file")
            path.write_text(text, encoding="utf-8")
            plain = read_tidy(path)
            file = as_tidy(plain, Wishes(**wishes))
        left = [note for note in file.notes if note.startswith("left out")]
        words = "; ".join(note.removeprefix("left out").lstrip(",: ").partition(" (")[0] for note in left)
        num_traces = file.traces["row"].n_unique()
        rows.append((name, str(plain.cells.height), str(file.cells.height), str(num_traces), words or "none"))
    return _table(("format", "rows", "runs", "traces", "left out"), rows)


def costs_markdown() -> str:
    """Of every shipped suite what the comment `Cost:` of its file says of trials, time and memory."""
    rows = []
    for name in shipped_suites():
        comments = [line.removeprefix("#").strip() for line in find_suite(name).read_text("utf-8").splitlines()]
        start = next(place for place, line in enumerate(comments) if line.startswith("Cost: "))
        lines = itertools.takewhile(bool, comments[start:])
        rows.append((f"`{name}`", prose_markdown(" ".join(lines).removeprefix("Cost: "))))
    return _table(("suite", "cost"), rows)


def claims_markdown() -> str:
    """Every claim of suites/results/claims.yaml with its comparison: better minus other, interval, corrected p."""
    rows = []
    for suite, score, better, other in claims():
        found = comparison(suite, score, better, other)
        difference = f"{found['difference']:.3g} [{found['ci_low']:.3g}, {found['ci_high']:.3g}]"
        rows.append((suite, score, better, other, difference, f"{found['p_holm']:.2g}", str(found["num_seeds"])))
    return _table(("suite", "score", "better", "than", "difference [95%]", "p (Holm)", "seeds"), rows)


def board_markdown(suite: str) -> str:
    """A committed board: the ranks that its seeds leave possible, scores with intervals, held-out accuracy."""
    rows = []
    for row in board(suite):
        best, worst = row["rank"], row["rank_worst"]
        ranks = NO_RANK if not best else best if best == worst else f"{best}-{worst}"
        interval = f"[{float(row['ci_low']):.2f}, {float(row['ci_high']):.2f}]"
        accuracy = f"{float(row['val_accuracy']):.1%}" if row["val_accuracy"] else NO_RANK
        entry = (f"`{row['method']}`", f"`{row['optimizer']}`", f"{float(row['lr_sensitivity']):.2f}", interval)
        rows.append((ranks, *entry, f"{float(row['stable_decades']):.1f}", row["best_lr"], accuracy))
    titles = (
        "rank",
        "method",
        "optimizer",
        "sensitivity",
        "95% interval",
        "stable decades",
        "best lr",
        "accuracy there",
    )
    return _table(titles, rows)


NO_RANK = "-"


def replay_markdown(suite: str) -> str:
    """A committed replay of searches over a box: regret by budget, and settings until near the best, by method."""
    rows, of_all = replays(suite), f"{max(BUDGETS)} settings"
    numbers = dict(rows.group_by("sampler").agg(polars.col("repeat").n_unique()).iter_rows())
    regrets, medians = [], to_target(rows)
    for (sampler,), own in summary(rows).group_by("sampler", maintain_order=True):
        last, shown = own.row(-1, named=True), [f"{100 * regret:.2f}" for regret in own["regret"]]
        low, beyond, high = (f"{round(100 * last[name], 2) + 0:.2f}" for name in ("ci_low", "beyond_random", "ci_high"))
        difference = NO_RANK if sampler == "random" else f"{beyond} [{low}, {high}]"
        regrets.append((f"`{sampler}`", str(numbers[sampler]), *shown, difference))
    counts = [
        (f"`{method}`", *(f"over {max(BUDGETS)}" if math.isinf(one) else f"{one:g}" for one in own))
        for method, *own in medians.iter_rows()
    ]
    titles = ("sampler", "repeats", *(f"{budget} settings" for budget in BUDGETS), f"minus random's, {of_all} [95%]")
    return f"{_table(titles, regrets)}\n{_table(('method', *(f'`{name}`' for name in medians.columns[1:])), counts)}"


def fronts_markdown() -> str:
    """Committed replays of fronts: the hypervolume that samplers lack by budget, and the regret of their least mean."""
    return "\n".join(_fronts_table(name, words) for name, words in (("missing", "lacks"), ("regret", "regret")))


def _fronts_table(name: str, words: str) -> str:
    lines, (*_, last) = [], replay_front.BUDGETS
    for suite in replay_front.SUITES:
        rows = replay_front.replays(suite)
        for sampler in replay_front.COMPARED:
            own = rows.filter(sampler=sampler)
            means = [f"{100 * own[f'{name}_{budget}'].mean():.2f}" for budget in replay_front.BUDGETS]
            beyond = [_beyond(rows, f"{name}_{last}", sampler, other) for other in ("random", "tpe")]
            lines.append((suite, f"`{sampler}`", *means, *beyond))
    differences = (f"minus {other}'s, {last} settings [95%]" for other in ("random", "tpe"))
    first, *further = (f"{budget} settings" for budget in replay_front.BUDGETS)
    return _table(("box", "sampler", f"{words}, {first}", *further, *differences), lines)


def _beyond(rows: polars.DataFrame, name: str, sampler: str, other: str) -> str:
    """The difference of pairs in percent with its interval; a dash of what is no pair of two, or stands elsewhere."""
    if sampler == other or (sampler, other) == ("random", "tpe"):
        return NO_RANK
    found = replay_front.difference(rows, name, sampler, other)
    beyond, low, high = (f"{round(100 * found[one], 2) + 0:.2f}" for one in ("beyond", "ci_low", "ci_high"))
    return f"{beyond} [{low}, {high}]"


def pruning_markdown() -> str:
    """The rules that prune, replayed on settings that were all trained: what they save, lose, and do to scores."""
    rows = [
        (
            f"`{one['rule']}`",
            *(f"{one[name]:.0%}" for name in ("pruned", "saved", "lost")),
            f"{one['regret']:.1%}",
            f"{one['expected']:+.1%}",
            f"{one['share']:+.3f} of {one['whole_share']:.3f}",
        )
        for one in replay_pruning.table().iter_rows(named=True)
    ]
    lost = ("best lost", "regret of what is left")
    return _table(("rule", "pruned", "steps saved", *lost, "expected best of 32", "robust share"), rows)


PRINTERS: dict[str, Callable[..., str]] = {
    "flags": flags_markdown,
    "detectors": detectors_markdown,
    "formats": formats_markdown,
    "costs": costs_markdown,
    "rooms": rooms_markdown,
    "claims": claims_markdown,
    "board": board_markdown,
    "replay": replay_markdown,
    "fronts": fronts_markdown,
    "pruning": pruning_markdown,
}


def _rooms(package: str) -> list[tuple[str, Path]]:
    """`cli/` or `trial.py` with the file whose docstring says what it is, in the order of the import contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["name"] == "imports go down only")
    order = [name.strip() for layer in layers for name in layer.split("|")]
    folder = ROOT / package
    rooms = [(f"{path.parent.relative_to(folder)}/", path) for path in folder.rglob("*/__init__.py")]
    modules = [(path.name, path) for path in folder.glob("*.py") if path.name != "__init__.py"]

    def place(room: tuple[str, Path]) -> tuple[int, str]:
        return order.index(f"{package}.{re.split('[/.]', room[0])[0]}"), room[0]

    return sorted(rooms + modules, key=place)


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return prose_markdown(docstring.partition("\n")[0])


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (titles, ("---",) * len(titles), *rows))


def main() -> None:
    if len(sys.argv) > 1:
        print(PRINTERS[sys.argv[1]](*sys.argv[2:]), end="")
        return
    for path in readmes():
        text = path.read_text(encoding="utf-8")
        path.write_text(made_anew(text), encoding="utf-8")


if __name__ == "__main__":
    main()
