"""The digest of a user's class follows every file of the user's that it imports, and nothing else."""

import hashlib
import sys

import pytest

from bench.entry import load_class
from bench.suite.own_code import code_digest

METHOD = "from bench.methods.softmax import Softmax\n{imports}\nclass Own(Softmax):\n    pass\n"


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """Writes files into a folder that is imported from, and gives the digest of a class there."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def digest(target, **files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return code_digest(load_class(target))

    yield digest
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith("mine_"):
            del sys.modules[name]


def test_a_class_that_imports_nothing_of_the_users_is_its_file_alone_as_in_earlier_stores(digest_of):
    text = METHOD.format(imports="import math\nimport torch")
    assert digest_of("mine_alone:Own", mine_alone=text) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "imports",
    [
        "from mine_pkg.rows import f",
        "import mine_pkg.rows",
        "from mine_pkg import rows",
        "from .rows import f",
        "from . import rows",
        "from .deeper.middle import g",
        "def late():\n    from mine_pkg import rows",
    ],
)
def test_it_follows_a_helper_however_it_is_imported_and_comes_back_with_the_old_file(digest_of, imports):
    middle = "from ..rows import f as g\n"
    files = {"mine_pkg__init": "", "mine_pkg__deeper__init": "", "mine_pkg__deeper__middle": middle}
    old, new = "def f():\n    return 1\n", "def f():\n    return 2\n"
    method = METHOD.format(imports=imports)
    first = digest_of("mine_pkg.method:Own", mine_pkg__method=method, mine_pkg__rows=old, **files)
    assert digest_of("mine_pkg.method:Own", mine_pkg__rows=new) != first
    assert digest_of("mine_pkg.method:Own", mine_pkg__rows=old, mine_pkg__other="x = 1\n") == first


def test_it_does_not_depend_on_the_current_directory(digest_of, tmp_path, monkeypatch):
    first = digest_of("mine_near:Own", mine_near=METHOD.format(imports="import mine_help"), mine_help="x = 1\n")
    monkeypatch.chdir(tmp_path.parent)
    assert digest_of("mine_near:Own") == first
