"""What the images install: everything, in the tested versions, each file by its hash, from no place in particular."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.locks import LOCKS, locked, versions
from tests.infra.manifests import INFRA, ROOT

IMAGE = {"implementation_name": "cpython", "os_name": "posix", "platform_machine": "x86_64", "platform_system": "Linux"}
IMAGE |= {"python_full_version": "3.12.12", "python_version": "3.12", "sys_platform": "linux"}
IMAGE |= {"platform_python_implementation": "CPython"}
ANY = Marker("python_version >= '3'")
each_lock = pytest.mark.parametrize("path", list(LOCKS.values()), ids=list(LOCKS))


def wanted(image: str) -> list[Requirement]:
    """What an image is asked to hold."""
    if image == "mlflow":
        lines = (INFRA / "mlflow" / "requirements.in").read_text().splitlines()
        return [Requirement(line) for line in lines if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][extra] for extra in ("cluster", "postgres", "s3")]
    return [Requirement(line) for lines in ([*project["dependencies"], "setuptools>=77"], *extras) for line in lines]


def needed(requirements: list[Requirement]) -> Iterator[Requirement]:
    """These and all that they need in the image, by the metadata of what is installed here."""
    left, seen = list(requirements), set()
    while left:
        one = left.pop()
        if (key := (canonicalize_name(one.name), frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        yield one
        try:
            lines = metadata.requires(one.name) or []
        except metadata.PackageNotFoundError:  # such as CUDA's libraries
            continue
        inner = [Requirement(line) for line in lines]
        for extra in ("", *one.extras):
            left += [two for two in inner if (two.marker or ANY).evaluate(IMAGE | {"extra": extra})]


@each_lock
def test_every_line_is_one_version_with_hashes_and_no_address(path: Path) -> None:
    assert not re.search(r"://|--(index|find|extra|trusted)|@ |(^|\s)/", path.read_text())
    for name, lines in locked(path).items():
        assert all(one.num_hashes > 0 for one in lines), name


@each_lock
def test_versions_are_those_of_the_constraints(path: Path) -> None:
    found, tested = locked(path), versions()
    assert {name: {one.version for one in found[name]} for name in tested if name in found} == {
        name: {tested[name]} for name in tested if name in found
    }
    assert "mlflow" in found


@each_lock
def test_all_that_is_needed_is_there(path: Path) -> None:
    found = locked(path)
    for one in needed(wanted(path.parent.name)):
        name = canonicalize_name(one.name)
        assert name in found, f"{one}: run make lock"
        lines = [line for line in found[name] if (line.requirement.marker or ANY).evaluate(IMAGE)]
        assert len(lines) == 1, name
        assert one.specifier.contains(lines[0].version, prereleases=True), f"{one}, locked is {lines[0].version}"


@each_lock
def test_image_takes_nothing_but_the_lock(path: Path) -> None:
    text = path.with_name("Containerfile").read_text()
    installs = re.findall(r"pip install (.*?)(?:&&|\n(?! ))", text.replace("\\\n", " "), re.DOTALL)
    assert installs
    for words in installs:
        assert "--require-hashes" in words or {"--no-deps", "--no-build-isolation"} <= set(words.split()), words
    assert "/requirements.lock" in text
