"""Entries of installed packages: named in suites, listed with their package, never in the place of what is shipped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.driver.manifest import packages_of_plug_ins
from bench.entry import build
from bench.errors import UsageError
from bench.methods import METHODS
from bench.suite import plug_ins
from tests.bench.suite.small_suite import FIELDS, load, suite
from tests.command_line import bench_here

PACKAGE = """
from dataclasses import dataclass
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Constant
from own_heavy_rows import scaled

@dataclass(frozen=True, kw_only=True)
class Heavy(Softmax):
    \"\"\"Heavier tails.\"\"\"

    source = "made up"
    scale: float = 1.0

    def normalize(self, q_BHQD, k_BHKD, state):
        return scaled(q_BHQD, self.scale), k_BHKD

@dataclass(frozen=True, kw_only=True)
class Flat(Constant):
    \"\"\"No decay.\"\"\"
"""
ROWS = "def scaled(x, scale):\n    return x * scale\n"
ENTRY_POINTS = """
[console_scripts]
own_heavy = own_heavy:main

[bench.methods]
heavy = own_heavy:Heavy
softmax = own_heavy:Heavy
broken = own_heavy_missing:Thing
nested = own_heavy:Heavy.inner
twice = own_heavy:Heavy

[bench.schedules]
flat = own_heavy:Flat
"""
SUITE = json.dumps(FIELDS | {"methods": ["softmax", "heavy", {"name": "heavy", "scale": 2.0}], "schedules": ["flat"]})


def install(folder: Path, name: str, version: str, entry_points: str) -> None:
    """The metadata of an installed package, as pip writes them."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


def forget() -> None:
    """What this process knows of installed packages."""
    plug_ins._declared.cache_clear()
    plug_ins._judged.cache_clear()
    for name in [name for name in sys.modules if name.startswith("own_heavy")]:
        del sys.modules[name]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder with a package of plug-ins, and another that declares one of its names."""
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / "own_heavy.py").write_text(PACKAGE)
    (folder / "own_heavy_rows.py").write_text(ROWS)
    install(folder, "own-heavy", "1.2.0", ENTRY_POINTS)
    install(folder, "own-light", "0.1", "[bench.methods]\ntwice = own_light:Light\n")
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    forget()


def test_a_plug_in_is_named_like_what_is_shipped(installed, tmp_path):
    loaded = load(tmp_path, SUITE)
    assert [choice.label for choice in loaded.methods] == ["softmax", "heavy", "heavy(scale=2.0)"]
    assert [choice.label for choice in loaded.schedules] == ["flat"]
    assert build(METHODS, loaded.methods[2]).scale == 2.0
    assert [*loaded.own_entries] == [("methods", 1), ("methods", 2), ("schedules", 0)]


def test_it_is_the_same_trial_as_the_class_by_its_place(installed, tmp_path):
    """Whose results it has; the id follows the package's code, whatever its version."""
    ids = [trial.id for trial in load(tmp_path, SUITE).expand()]
    by_place = SUITE.replace('"heavy"', '"own_heavy:Heavy"').replace('"flat"', '"own_heavy:Flat"')
    assert [trial.id for trial in load(tmp_path, by_place).expand()] == ids
    (installed / "own_heavy-1.2.0.dist-info").rename(installed / "own_heavy-1.3.0.dist-info")
    forget()
    assert [trial.id for trial in load(tmp_path, SUITE).expand()] == ids
    (installed / "own_heavy_rows.py").write_text(ROWS.replace("x * scale", "x / scale"))
    forget()
    changed = [trial.id for trial in load(tmp_path, SUITE).expand()]
    assert not set(changed) & set(ids)


def test_labels_stay_through_searches_sweeps_and_python(installed):
    found = suite(methods=["heavy"], search="edge", knobs={"lr": [0.1, 1.0], "scale": [1.0, 2.0]})
    assert [choice.label for choice in found.with_budget(8).methods] == ["heavy"]
    assert {trial.method.label for trial in found.expand()} == {"heavy"}


def test_the_manifest_names_package_and_version(installed, tmp_path):
    expected = dict.fromkeys(["heavy", "heavy(scale=2.0)", "flat"], "own-heavy 1.2.0")
    assert packages_of_plug_ins(load(tmp_path, SUITE)) == expected
    assert packages_of_plug_ins(suite()) == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "'broken' of own-heavy 1.2.0 can't be imported: ModuleNotFoundError: No module named 'own_heavy_mi"),
        ("nested", "'nested' of own-heavy 1.2.0 can't be named so: it must be at package.module:Class, got"),
        (
            "twice",
            "'twice' of own-heavy 1.2.0 can't be named so: own-light 0.1 declares the same name; write ",
        ),
        ("heavvy", "unknown method 'heavvy'; did you mean 'heavy'?"),
        ("own_heavy_rows:scaled", "method 'own_heavy_rows:scaled' is code that would be imported; pass --allow-code"),
    ],
)
def test_what_can_not_be_used_is_one_line_and_only_where_it_is_named(name, message, installed, tmp_path):
    assert load(tmp_path, SUITE).num_trials == 12
    with pytest.raises(UsageError, match=r"x\.yaml:1:") as caught:
        load(tmp_path, json.dumps(FIELDS | {"methods": [name]}))
    (line,) = str(caught.value).splitlines()
    assert message in line


def test_a_package_whose_metadata_can_not_be_read_declares_nothing(installed):
    """PyTorch, which reads all entry points, can't be imported beside it; what lists names still can."""
    install(installed, "own-torn", "0.1", "[bench.methods]\nno entry point\n")
    forget()
    assert set(plug_ins.plug_ins("bench.methods", METHODS)) == {"heavy", "broken"}


def test_what_is_shipped_is_never_replaced(installed):
    assert suite(methods=["softmax"]).methods == suite(methods=[{"name": "softmax"}]).methods
    assert type(build(METHODS, suite(methods=["softmax"]).methods[0])).__module__ == "bench.methods.softmax"


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, where the folder's packages are installed."""
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), root])}
    command = [sys.executable, "-m", "bench.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


@pytest.mark.whole
def test_commands_list_and_check_plug_ins_with_their_packages(installed, tmp_path):
    (installed / "x.yaml").write_text(SUITE)
    listed = bench(installed, "list", "methods", "--json")
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["heavy"]["package"] == "package: own-heavy 1.2.0"
    assert rows["heavy"]["summary"] == "Heavier tails."
    assert "can't be imported: ModuleNotFoundError" in rows["broken"]["summary"]
    assert "package" not in rows["softmax"]
    refused = [line.partition(": ")[0] for line in listed.stderr.splitlines()]
    names = [("softmax", "own-heavy 1.2.0"), ("nested", "own-heavy 1.2.0")]
    names += [("twice", "own-heavy 1.2.0"), ("twice", "own-light 0.1")]
    assert refused == [f"method {name!r} of {package} can't be named so" for name, package in names]
    assert "flat (own-heavy 1.2.0)" in bench_here(installed, "list").stdout
    checked = bench(installed, "check", "flat")
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (0, "flat (schedule)")
    validated = bench_here(installed, "validate", "x.yaml")
    assert (validated.returncode, validated.stderr) == (0, "")
