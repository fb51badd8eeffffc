"""A suite from elsewhere reads nothing outside of the folder that it runs in."""

import pickle

import pytest

from bench.errors import UsageError
from bench.suite import load_suite
from bench.training.lane import LaneProgram

SUITE = """
name: reads
workloads: [{{name: language_modeling, num_steps: 2, final_loss_steps: 1, context: 8, tokenizer: characters, {corpus}}}]
methods: [softmax]
optimizers: [adamw]
knobs: {{lr: [0.1]{knob}}}
seeds: 1
probe_every: 1
"""
WRITTEN = (("mine",), ("", ", corpus: [mine]"))  # a corpus as a parameter, and as the value of a knob


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


def test_data_beside_the_suite_are_found_from_any_folder_with_the_same_ids(folder, monkeypatch):
    here = [load(folder, *words).expand()[0] for words in WRITTEN]
    monkeypatch.chdir(folder.parent)
    there = [load(folder, *words).expand()[0] for words in WRITTEN]
    assert [trial.id for trial in there] == [trial.id for trial in here]
    for trial in there:
        workload = LaneProgram.of(pickle.loads(pickle.dumps(trial))).workload  # as a worker gets it
        assert workload.corpus == str(folder / "mine")
        assert str(folder) not in str(trial.to_dict())


def test_data_beside_the_suite_go_before_those_in_the_current_folder(folder, monkeypatch):
    beside = load(folder, "mine").expand()[0].id
    (folder.parent / "mine").write_text("other text of the same name " * 200)
    monkeypatch.chdir(folder.parent)
    assert load(folder, "mine").expand()[0].id == beside
    (folder / "mine").unlink()
    assert load(folder, "mine").expand()[0].id != beside


def test_a_file_named_like_built_in_data_changes_nothing(folder):
    expected = load(folder, "python").expand()[0].id
    (folder / "python").write_text("some text " * 200)
    assert load(folder, "python").expand()[0].id == expected


def test_an_error_says_where_data_were_looked_for(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(UsageError, match=f"missing: no such file .*; looked in {folder} and {folder.parent}"):
        load(folder, "missing")
    (folder / "empty").write_text("")
    with pytest.raises(UsageError, match="the file is empty") as caught:
        load(folder, "empty")
    assert "looked in" not in str(caught.value)


def test_another_budget_of_a_search_reads_the_same_data(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    text = SUITE.format(corpus="corpus: mine", knob="").replace("lr: [0.1]", "lr: [0.1, 1]")
    (folder / "searched.yaml").write_text(f"{text}search: edge\n")
    suite = load_suite(folder / "searched.yaml")
    assert suite.with_budget(7).workloads == suite.workloads
