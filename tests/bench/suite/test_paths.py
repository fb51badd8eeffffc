"""A suite from elsewhere reads nothing outside of the folder that it runs in."""

import pytest

from bench.errors import UsageError
from bench.suite import load_suite

SUITE = """
name: reads
workloads: [{{name: language_modeling, num_steps: 2, final_loss_steps: 1, context: 8, tokenizer: characters, {corpus}}}]
methods: [softmax]
optimizers: [adamw]
knobs: {{lr: [0.1]{knob}}}
seeds: 1
probe_every: 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").write_text("some text of somebody else " * 200)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine").write_text("some text of my own " * 200)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def load(folder, corpus: str, knob: str = ""):
    (folder / "reads.yaml").write_text(
        SUITE.format(corpus=f"corpus: {corpus}" if corpus else "eval_batches: 1", knob=knob)
    )
    return load_suite(folder / "reads.yaml")


@pytest.mark.parametrize("corpus", ["../elsewhere", "mine/../../elsewhere", "/etc/passwd", "~/x"])
def test_a_path_that_leaves_the_folder_is_refused(folder, corpus):
    (folder / "mine2").mkdir()
    with pytest.raises(UsageError, match=r"reads.yaml:3:\d+: .*(leaves the folder|no such file)"):
        load(folder, corpus)


def test_absolute_and_parent_paths_of_files_that_exist_are_refused_by_name(folder):
    for corpus in ("../elsewhere", str(folder / "mine")):
        with pytest.raises(UsageError, match="leaves the folder that suites run in"):
            load(folder, corpus)


def test_a_path_as_the_value_of_a_knob_is_refused_too(folder):
    with pytest.raises(UsageError, match="leaves the folder that suites run in"):
        load(folder, "", knob=", corpus: [mine, ../elsewhere]")


def test_what_lies_below_or_is_linked_there_is_read(folder):
    (folder / "linked").symlink_to(folder.parent / "elsewhere")
    assert load(folder, "mine").num_trials == load(folder, "linked").num_trials == 1
