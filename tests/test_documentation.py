import csv
import functools
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
from ruamel.yaml import YAML
from scipy.stats import spearmanr

from bench.cli.app import app
from bench.entry import load_class
from bench.suite import find_suite, load_suite, shipped_suites
from bench.suite.catalog import LISTS
from tests.documentation import PART, ROOT, made_anew, printed, readmes

READMES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in readmes()}
ROOMS = ("bench/", "analysis/", "suites/", "infra/", "tests/")
each_readme = pytest.mark.parametrize("name", READMES)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUFFIXES = "py|yaml|csv|md|sh|sql|toml|txt|bib|tex|html|json|cff|db"
# Made by a reader or by another program, so that no code of ours names them.
OTHERS = {"runs.csv", "my_suite.yaml", "my_attention.py", "driver.env", "mlflow.db-wal"}
NEED_FILES = {"nanogpt_char", "nanogpt_char_laptop", "mt_multi30k"}  # suites whose data the user fetches
OTHERS |= {"monitor.py", "dashboard.py"}  # processes of Ray


def shell_lines(text: str) -> list[str]:
    """The commands of a README: lines of its code blocks and whole spans of code, without comments."""
    blocks = "\n".join(block for language, block in FENCE.findall(text) if not language)
    lines = blocks.replace("\\\n", " ").splitlines() + spans(text)
    return [re.split(r"\s#(?:\s|$)|\s{4,}#", line)[0].strip() for line in lines]


def spans(text: str) -> list[str]:
    """Spans of code in a README's prose and tables, without those of its blocks."""
    prose = FENCE.sub("", PART.sub("", text))
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def bench_calls(text: str) -> list[list[str]]:
    """The words after `bench` of each call; brackets around what may be left out are removed."""
    calls = []
    for line in shell_lines(text):
        match = re.search(r"(?:^|[\s/;&])bench ((?![.:]).+)$", line)
        if match and "kubectl" not in line[: match.start()]:  # whose namespace has this name
            calls.append(shlex.split(re.split(r"[|;&]", match[1].replace("[", " ").replace("]", " "))[0]))
    return calls


@functools.cache
def whole_command() -> Any:
    """`bench` with all that is within it."""
    return typer.main.get_command(app)


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, of groups the one within, and the words that follow."""
    command = whole_command()
    while (within := commands_of(command)) and words and not words[0].startswith("-"):
        assert words[0] in within, f"bench has no command {words[0]}"
        command, words = within[words[0]], words[1:]
    return command, words


def commands_of(command: Any) -> dict[str, Any]:
    """The commands of a group by name; typer brings a click of its own, whose types it does not show."""
    return getattr(command, "commands", {})


def options_of(command: Any) -> set[str]:
    """Long options of a command and of those within it."""
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return names.union({"--help"}, *map(options_of, commands_of(command).values()))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_readme
def test_generated_parts_are_what_their_commands_print(name):
    assert READMES[name] == made_anew(READMES[name]), "python -m tests.documentation"


@each_readme
def test_every_part_that_is_said_to_be_made_is_one(name):
    """A part whose first line was folded, or that never ends, would be held to nothing."""
    parts = [match["command"] for match in PART.finditer(READMES[name])]
    assert len(parts) == READMES[name].count("made by: ") == READMES[name].count("<!-- end -->")
    assert len(parts) == len(set(parts))


def test_every_list_has_its_table():
    made = [match["command"] for text in READMES.values() for match in PART.finditer(text)]
    assert {f"bench list {kind} --format md" for kind in LISTS if kind != "knobs"} <= set(made)


def test_the_readme_of_the_project_is_short():
    assert len(READMES["README.md"].encode()) < 9_000


@each_readme
def test_lines_are_at_most_120_characters(name):
    assert [line for line in PART.sub("", READMES[name]).splitlines() if len(line) > 120] == []


@each_readme
def test_every_command_and_option_exists(name):
    for words in bench_calls(READMES[name]):
        command, rest = command_of(words)
        options = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert options <= options_of(command), f"bench {' '.join(words)}"


def test_commands_are_found_in_blocks_and_in_spans():
    text = "`bench edge softmax --x`\n\n```\nA=1 .venv/bin/bench logs JOB [--follow]    # all\nbench power 1 2\n```\n"
    expected = [["logs", "JOB", "--follow"], ["power", "1", "2"], ["edge", "softmax", "--x"]]
    assert bench_calls(text) == expected
    assert sum(len(bench_calls(text)) for text in READMES.values()) > 40


@each_readme
def test_every_option_that_is_named_alone_exists(name):
    others = {"--build-arg"}  # of docker
    named = {span.split()[0].partition("=")[0] for span in spans(READMES[name]) if span.startswith("--")}
    assert named <= options_of(whole_command()) | others


@each_readme
def test_every_target_and_module_that_is_run_exists(name):
    lines = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = " ".join(lines).split()
    for line in shell_lines(READMES[name]):
        words = line.split()
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        if words[:2] == ["python", "-m"] and words[2].startswith("tests"):
            assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), line


@each_readme
def test_every_path_that_is_named_exists(name):
    folder = (ROOT / name).parent
    text = re.sub(r"\]\([^)]*\)|https?://[^\s`]+|[\w./-]*NAME[\w./-]*", "", PART.sub("", READMES[name]))
    named = set(re.findall(rf"(?<![\w/.$-])((?:{'|'.join(ROOMS)})[\w./-]*\w/?)", text))
    named |= {span for span in spans(text) if re.fullmatch(rf"[\w/.-]+(?:/|\.(?:{SUFFIXES}))", span)}
    for path in named - OTHERS:
        is_there = (ROOT / path).exists() or (folder / path).exists()
        assert is_there or is_made_by_the_program(path) or is_a_name_here(path, folder), path


def test_every_file_and_module_that_code_names_exists():
    """By its path, or by its dotted name, whose last parts are what the module has."""
    paths = {path: (ROOT / path) for path in _tracked(ROOT) if re.fullmatch(r"(analysis|bench)/.*\.py", path)}
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): at for path, at in paths.items()}
    texts = {at: at.read_text(encoding="utf-8") for at in paths.values()}
    missing = []
    for path, at in paths.items():
        missing += [
            (path, one)
            for one in re.findall(r"(?<![\w/])(?:analysis|bench)/[\w/]+\.py\b", texts[at])
            if one not in paths
        ]
        for name in re.findall(r"(?<![\w./`\"-])(?:analysis|bench)\.[a-z_]\w*(?:\.[A-Za-z_]\w*)+", texts[at]):
            parts = name.split(".")
            depth = next((n for n in range(len(parts), 1, -1) if ".".join(parts[:n]) in modules), 0)
            module = modules.get(".".join(parts[:depth]))
            has_it = module is not None and (depth == len(parts) or re.search(rf"\b{parts[depth]}\b", texts[module]))
            missing += [] if has_it else [(path, name)]
    assert missing == []


def is_made_by_the_program(path: str) -> bool:
    """Whether the code writes a file of this name."""
    found = ["git", "grep", "-qF", Path(path).name, "--", "bench/*.py", "analysis/*.py", "Makefile"]
    return subprocess.run(found, cwd=ROOT, check=False).returncode == 0


def is_a_name_here(path: str, folder: Path) -> bool:
    """Whether a file or folder below the README's folder, or below tests/, has this name."""
    return any(f"/{found}/".endswith(f"/{path.rstrip('/')}/") for found in _tracked(folder) | _tracked(ROOT / "tests"))


@functools.cache
def _tracked(folder: Path) -> frozenset[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True)
    paths = [Path(line) for line in listed.stdout.splitlines()]
    return frozenset(str(part) for path in paths for part in (path, *path.parents))


@each_readme
def test_names_are_in_the_files_that_are_said_to_have_them(name):
    text = " ".join(READMES[name].split())
    for names, path in re.findall(r"((?:`\w+`(?:,| and| or)? )+)in `([\w/]+\.py)`", text):
        code = (ROOT / path).read_text(encoding="utf-8")
        assert [word for word in re.findall(r"`(\w+)`", names) if not re.search(rf"\b{word}\b", code)] == [], path


@each_readme
def test_every_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", READMES[name]):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = unquote(target).partition("#")
        led = (ROOT / name).parent / path if path else ROOT / name
        assert led.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", led.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in map(slug, headings), target


@each_readme
def test_every_class_that_is_named_can_be_loaded(name):
    for target in spans(READMES[name]):
        if re.fullmatch(r"bench(\.\w+)+:\w+", target) and "NAME" not in target:
            assert isinstance(load_class(target), type)


def test_the_attention_of_the_readme_trains_as_it_is_written(tmp_path, monkeypatch):
    import torch

    blocks = {language: block for language, block in FENCE.findall(READMES["README.md"]) if language}
    (tmp_path / "my_attention.py").write_text(blocks["python"])
    monkeypatch.syspath_prepend(tmp_path)
    method = load_class("my_attention:Cauchy")()
    q_BHQD, k_BHKD = torch.randn(2, 1, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    weights = method.weights(q_BHQD, k_BHKD, torch.ones(4, 4, dtype=torch.bool).tril(), {})
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 4))
    assert weights.triu(1).count_nonzero() == 0


def test_suites_of_the_readmes_are_valid(tmp_path):
    from bench.suite import load_suite

    texts = [block for text in READMES.values() for language, block in FENCE.findall(text) if language == "yaml"]
    whole = [text for text in texts if text.startswith("name:")]
    (tmp_path / "suite.yaml").write_text(whole[0])
    assert load_suite(tmp_path / "suite.yaml").num_trials == 3 * 2 * 9 * 2 * 5
    rest = {"workloads": "[in_context_regression]", "methods": "[softmax]", "optimizers": "[adamw]", "knobs": "{lr: 1}"}
    for part in (text for text in texts if text not in whole):
        lacking = "".join(f"{key}: {value}\n" for key, value in rest.items() if f"{key}:" not in part)
        (tmp_path / "suite.yaml").write_text(f"name: x\nseeds: 2\nprobe_every: 9\n{lacking}{part}")
        load_suite(tmp_path / "suite.yaml")


def test_the_table_of_results_is_what_was_measured():
    with (ROOT / "suites/results/paper_table1/leaderboard.csv").open() as file:
        ours = {row["method"]: row for row in csv.DictReader(file)}
    with (ROOT / "analysis/references/hong_lee_2025_table1.csv").open() as file:
        paper = {row["method"]: float(row["lr_sensitivity"]) for row in csv.DictReader(file)}
    expected = [
        f"| {name} | {float(row['lr_sensitivity']):.2f} | [{float(row['ci_low']):.2f}, {float(row['ci_high']):.2f}] "
        f"| {paper[name]:.2f} | {float(row['best_loss']):.2f} at {float(row['best_lr']):g} "
        f"| {float(row['stable_decades']):.1f} | {float(row['diverged_share']):.0%} |"
        for name, row in ours.items()
        if name in paper
    ]
    lines = READMES["README.md"].splitlines()
    start = lines.index(expected[0])
    assert lines[start : start + len(expected) + 1] == [*expected, ""]


def test_what_is_said_of_the_table_of_results_holds():
    with (ROOT / "suites/results/paper_table1/leaderboard.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["rank"]]  # a control has none
    with (ROOT / "analysis/references/hong_lee_2025_table1.csv").open() as file:
        paper = {row["method"]: float(row["lr_sensitivity"]) for row in csv.DictReader(file)}
    # A rank is 1 + the number of methods that are significantly better.
    assert [row["rank"] for row in rows].index("3") == 4
    assert {row["rank"] for row in rows[:4]} == {"1"}
    agreement, _ = spearmanr([float(row["lr_sensitivity"]) for row in rows], [paper[row["method"]] for row in rows])
    assert f"(Spearman {agreement:.2f})" in READMES["README.md"]


def test_the_citation_names_this_version():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project["version"]
    assert project["name"] in citation["title"]
    assert (ROOT / project["readme"]).is_file()


@pytest.mark.parametrize("name", shipped_suites())
def test_every_shipped_suite_says_its_time_and_memory_or_that_they_are_not_measured(name):
    (cost,) = [row for row in printed("python -m tests.documentation costs").splitlines() if f"`{name}`" in row]
    assert re.search(r"\d (s|minutes|hours)\b|not measured", cost)
    assert re.search("GiB|memory", cost, re.IGNORECASE)
    said = re.search(r"^\| \S+ \| (at most )?([\d,]+) trials", cost)
    assert said is not None
    if name not in NEED_FILES:
        suite = load_suite(find_suite(name))
        assert int(said[2].replace(",", "")) == (suite.most_trials if said[1] else suite.num_trials)
