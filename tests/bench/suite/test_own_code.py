"""A user's own class in a suite: imported only if allowed, hashed, and refused in one line where it is wrong."""

import json
import sys

import pytest

from bench.entry import build, load_class
from bench.errors import UsageError
from bench.methods import METHODS
from bench.suite import Context, Suite
from tests.bench.suite.small_suite import FIELDS, load, suite

OWN_METHOD = """\
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge
from bench.methods.softmax import Softmax
from bench.optimizers.sgd import SGD

@dataclass(frozen=True, kw_only=True)
class Own(Softmax):
    width: Annotated[int, Ge(1)]
    scale: float = 1
    def __post_init__(self):
        if self.width == 13:
            raise ValueError("13 brings bad luck")

@dataclass(frozen=True, kw_only=True)
class WithoutDecay(SGD):
    knobs = ("lr",)

class NoDataclass(Softmax):
    pass

@dataclass(frozen=True, kw_only=True)
class Odd(Softmax):
    thing: complex = 1j

not_a_class = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A directory with a user's module, and nothing of it imported before or after."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN_METHOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield name
    sys.modules.pop(name, None)


def file_with(entry, field="methods", **fields):
    return json.dumps(FIELDS | {field: [entry]} | fields)


def test_code_is_imported_only_if_allowed(own, tmp_path):
    text = file_with({"name": f"{own}:Own", "width": 2})
    with pytest.raises(UsageError, match="--allow-code"):
        load(tmp_path, text)
    assert own not in sys.modules
    assert str(tmp_path) not in sys.path
    choice = load(tmp_path, text, allow_code=True).methods[0]
    assert choice.params == {"width": 2, "scale": 1.0}
    assert choice.label == f"{own}:Own(width=2)"
    assert build(METHODS, choice).width == 2


def test_digest_follows_the_source(own, tmp_path):
    text = file_with({"name": f"{own}:Own", "width": 2})
    first = load(tmp_path, text, allow_code=True)
    (tmp_path / f"{own}.py").write_text(OWN_METHOD + "# changed\n")
    second = load(tmp_path, text, allow_code=True)
    assert len(first.methods[0].digest) == 64
    assert first.methods[0].digest != second.methods[0].digest
    assert first.expand()[0].id != second.expand()[0].id


def test_python_takes_a_class_or_a_context(own, tmp_path):
    by_name = load(tmp_path, file_with({"name": f"{own}:Own", "width": 2}), allow_code=True)
    own_class = load_class(f"{own}:Own")
    assert suite(methods=[{"name": own_class, "width": 2}]) == by_name
    fields = FIELDS | {"methods": [{"name": f"{own}:Own", "width": 2}]}
    assert Suite.model_validate(fields, context=Context(allow_code=True)) == by_name


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("{own}:Own", "parameter 'width' of method .* is required"),
        ("{own}:Missing", "can't be imported: AttributeError: .*Missing"),
        ("{own}:not_a_class", "must be a subclass of bench.methods.base.Method, got an object of int"),
        ("{own}:NoDataclass", "must be a dataclass"),
        ("{own}:WithoutDecay", "must be a subclass of bench.methods.base.Method, got the class WithoutDecay"),
        ("{own}:Odd", "thing must be plain data"),
        ("no_such_module:Thing", "can't be imported: ModuleNotFoundError"),
        ("broken_module:Thing", "can't be imported: SyntaxError"),
        ("leaving_module:Thing", "can't be imported: SystemExit"),
        ("relative_module:Thing", r"imports others by their names alone, without a point \(relative_module.py:1\)"),
        (
            "./{own}.py:Own",
            "must be package.module:Class, as {own}:Own, whose folder is searched, got './{own}.py:Own'",
        ),
        ("my-module:Own", "must be package.module:Class in letters, digits and _, got 'my-module:Own'"),
        ("{own}", "unknown method '{own}'; a class of {own}.py is named {own}:CLASS"),
    ],
)
def test_wrong_code_is_one_line(target, words, own, tmp_path):
    (tmp_path / "broken_module.py").write_text("def:\n")
    (tmp_path / "leaving_module.py").write_text("raise SystemExit\n")
    (tmp_path / "relative_module.py").write_text("from .leaving_module import x\n")
    with pytest.raises(UsageError, match=words.replace("{own}", own)) as caught:
        load(tmp_path, file_with(target.format(own=own)), allow_code=True)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{tmp_path / 'x.yaml'}:1:")


def test_lists_and_tuples_are_parameters(own, tmp_path):
    """A suite has lists alone; a default that is made anew for each entry is a default."""
    fields = "    widths: tuple[int, ...] = (1, 2)\n    heads: list[int] = field(default_factory=lambda: [3])\n"
    head = "from dataclasses import dataclass, field\nfrom bench.methods.softmax import Softmax\n"
    (tmp_path / f"{own}.py").write_text(f"{head}@dataclass(frozen=True, kw_only=True)\nclass Own(Softmax):\n{fields}")
    plain, given = load(tmp_path, file_with(f"{own}:Own"), allow_code=True).methods[0], {"widths": [3, 4]}
    assert plain.params == {"widths": (1, 2), "heads": [3]}
    choice = load(tmp_path, file_with({"name": f"{own}:Own", **given}), allow_code=True).methods[0]
    assert build(METHODS, choice).widths == (3, 4)
    assert choice.label == f"{own}:Own(widths=(3, 4))"
    with pytest.raises(UsageError, match=r"widths\[1\] must be a whole number, got 'x'"):
        load(tmp_path, file_with({"name": f"{own}:Own", "widths": [3, "x"]}), allow_code=True)


def test_a_value_without_a_type_is_no_parameter(own, tmp_path):
    (tmp_path / f"{own}.py").write_text(OWN_METHOD.replace("scale: float = 1", "scale = 1.0"))
    with pytest.raises(UsageError, match=r"unknown parameter 'scale' of .* without a type: scale: float = 1\.0"):
        load(tmp_path, file_with({"name": f"{own}:Own", "width": 2, "scale": 2.0}), allow_code=True)


@pytest.mark.parametrize("name", ["mlflow.py", "secrets.py", "torch/__init__.py"])
def test_a_file_that_a_library_would_be_imported_from_is_refused(own, tmp_path, name):
    """Whatever needs secrets or torch later would get the user's."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    (tmp_path / "test.py").write_text("")  # Python has a module of that name, which nothing imports
    with pytest.raises(UsageError, match=f"has {name.partition('/')[0]}, which would be imported in place of the libr"):
        load(tmp_path, file_with({"name": f"{own}:Own", "width": 2}), allow_code=True)
    assert str(tmp_path) not in sys.path
    path.rename(tmp_path / "mine.py")
    if path.parent != tmp_path:
        path.parent.rmdir()
    assert (
        load(tmp_path, file_with({"name": f"{own}:Own", "width": 2}), allow_code=True).methods[0].params["width"] == 2
    )


@pytest.mark.parametrize("shared", ["{own}.py", "{own}_helper.py"])
def test_code_of_one_name_in_two_folders_is_refused(own, tmp_path, monkeypatch, shared):
    """Python imports a name once: the second suite would train the first one's code."""
    head = "from dataclasses import dataclass\nfrom bench.methods.softmax import Softmax\n"
    for number, folder in enumerate((tmp_path / "one", tmp_path / "two")):
        folder.mkdir()
        name = own if shared == "{own}.py" else f"{own}_{number}"
        code = f"import {own}_helper\n{head}@dataclass(frozen=True)\nclass Own(Softmax):\n    pass\n"
        (folder / f"{own}_helper.py").write_text(f"number = {number}\n")
        (folder / f"{name}.py").write_text(code)
        if number == 0:
            first = load(folder, file_with(f"{name}:Own"), allow_code=True)
    words = (
        f"two/{shared.format(own=own)}: a module of the name .* is imported from .*one/.* already; rename one of them"
    )
    with pytest.raises(UsageError, match=words):
        load(folder, file_with(f"{name}:Own"), allow_code=True)
    again = own if shared == "{own}.py" else f"{own}_0"
    assert load(tmp_path / "one", file_with(f"{again}:Own"), allow_code=True).methods == first.methods
    for module in (f"{own}_helper", f"{own}_0", f"{own}_1"):
        sys.modules.pop(module, None)


def test_entry_that_refuses_its_parameters_is_reported(own, tmp_path):
    with pytest.raises(UsageError, match="refuses its parameters: 13 brings bad luck"):
        load(tmp_path, file_with({"name": f"{own}:Own", "width": 13}), allow_code=True)


def test_knob_that_an_optimizer_does_not_read_is_refused(own, tmp_path):
    entry = f"{own}:WithoutDecay"
    assert load(tmp_path, file_with(entry, "optimizers", knobs={"lr": [1, 2]}), allow_code=True).num_trials == 8
    for decay in ([0, 0.1], 0.1):
        text = file_with(entry, "optimizers", knobs={"lr": 1, "weight_decay": decay})
        with pytest.raises(UsageError, match="weight_decay has no effect with optimizer"):
            load(tmp_path, text, allow_code=True)


def test_a_method_beside_the_suite_is_found_from_any_folder_with_the_same_ids(own, tmp_path, monkeypatch):
    text = file_with({"name": f"{own}:Own", "width": 2})
    beside = load(tmp_path, text, allow_code=True).expand()
    sys.modules.pop(own)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    with pytest.raises(UsageError, match="--allow-code"):
        load(tmp_path, text)
    assert [trial.id for trial in load(tmp_path, text, allow_code=True).expand()] == [trial.id for trial in beside]


def test_an_error_says_where_code_was_looked_for(own, tmp_path):
    with pytest.raises(UsageError, match=f"looked in {tmp_path}"):
        load(tmp_path, file_with("no_such_module:Thing"), allow_code=True)


def test_a_method_without_weights_is_refused_with_its_place(own, tmp_path):
    text = "from dataclasses import dataclass\nfrom bench.methods.base import Method\n"
    text += "@dataclass(frozen=True, kw_only=True)\nclass Scaled(Method):\n    source = 'made up'\n"
    (tmp_path / f"{own}.py").write_text(text)
    with pytest.raises(UsageError, match=r"x.yaml:1:\d+: .*Scaled' must override `weights`"):
        load(tmp_path, file_with(f"{own}:Scaled"), allow_code=True)
