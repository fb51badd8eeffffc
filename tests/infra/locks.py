"""The versions of constraints.txt, and the locks of the images: every version and hash of what they install."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.manifests import INFRA, ROOT

LOCKS = {path.parent.name: path for path in sorted(INFRA.rglob("requirements.lock"))}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One line of a lock."""

    requirement: Requirement
    num_hashes: int

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "=="
        return only.version


def versions() -> dict[str, str]:
    """The version of each package that constraints.txt names."""
    pairs = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {canonicalize_name(name): version.strip() for name, version in pairs}


def locked(path: Path) -> dict[str, list[Locked]]:
    """What a lock holds by name: more than one line where systems or versions of Python differ."""
    found: dict[str, list[Locked]] = {}
    for line in path.read_text().replace("\\\n", " ").splitlines():
        requirement = Requirement(line.partition(" --hash=")[0])
        one = Locked(requirement=requirement, num_hashes=len(HASH.findall(line)))
        found.setdefault(canonicalize_name(requirement.name), []).append(one)
    return found
