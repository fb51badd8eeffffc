"""The wheel, and what stands beside the code: its files, its metadata, and a shipped suite in a clean folder."""

import os
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import bench
from bench.store.records import MANIFEST_VERSION, SCHEMA_VERSION
from bench.trial import TRIAL_VERSION

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
yaml = YAML(typ="safe")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built of the tracked files alone, as from a clean clone."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    parts = ("bench/", "analysis/", "suites/", "pyproject.toml", "README.md")
    for name in tracked():
        if name.startswith(parts):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, source]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    stores = ("BENCH_STORE", "MLFLOW_TRACKING_URI")
    environment = {name: text for name, text in os.environ.items() if name not in stores}
    environment["PYTHONPATH"] = str(installed)
    command = [sys.executable, "-P", "-m", "bench.cli", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.whole
def test_the_wheel_holds_what_the_packages_read(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = [name for name in tracked() if name.startswith(("bench/", "analysis/")) and not name.endswith(".md")]
    suites = [
        name for name in tracked() if name.startswith("suites/") and name.endswith(".yaml") and name.count("/") == 1
    ]
    assert [name for name in code + suites if name not in names] == []
    assert not [name for name in names if name.startswith(("tests/", "infra/", "suites/results"))]


@pytest.mark.whole
def test_the_metadata_says_what_it_is(wheel):
    (name,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("METADATA")]
    metadata = Parser().parsestr(zipfile.ZipFile(wheel).read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == bench.__version__
    assert metadata["Author"] == "The contributors of attention-robustness-bench"
    citation = yaml.load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (bench.__version__, "Apache-2.0")
    assert citation["authors"] == [{"name": metadata["Author"]}]


def test_every_extra_is_documented():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / "bench/README.md").read_text()
    assert [name for name in extras if f"`{name}`" not in text] == []


@pytest.mark.whole
def test_an_installed_wheel_knows_its_suites_and_its_own_files(installed, tmp_path):
    done = run(installed, tmp_path, "validate", "quickstart")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("trials: 108\n")


@pytest.mark.whole
def test_another_programs_package_of_the_same_name_is_refused(installed, tmp_path):
    (tmp_path / "other/analysis").mkdir(parents=True)
    (tmp_path / "other/analysis/__init__.py").touch()
    done = run(Path(f"{tmp_path / 'other'}{os.pathsep}{installed}"), tmp_path, "list")
    assert done.returncode == 2
    assert "another program's package of the name analysis; required the one in" in done.stderr


def test_the_versions_of_what_is_written_are_listed():
    text = (ROOT / "bench/README.md").read_text()
    for what, version in (
        ("tags and artifacts of a store", SCHEMA_VERSION),
        ("manifest", MANIFEST_VERSION),
        ("trial", TRIAL_VERSION),
    ):
        assert f"| {what} | {version}: " in text


@pytest.mark.slow
def test_an_installed_wheel_runs_a_shipped_suite_by_its_name(installed, tmp_path):
    done = run(installed, tmp_path, "run", "quickstart", "--no-figures")
    assert done.returncode == 0, done.stderr
    assert "relu_kernel" in done.stdout
    assert (tmp_path / ".bench/mlflow.db").exists()


def test_the_workflow_runs_what_a_clean_clone_runs():
    workflow = yaml.load((GITHUB / "workflows/ci.yml").read_text())
    steps = workflow["jobs"]["run"]["steps"]
    assert ".ci/run" in steps[-1]["run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("path", sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml")), ids=lambda path: path.stem)
def test_an_issue_form_asks_for_what_is_needed(path):
    form = yaml.load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
    assert sum(field.get("validations", {}).get("required", False) for field in fields) >= 2
