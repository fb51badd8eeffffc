"""analysis: frames in, frames and files out. Loading it loads nothing that trains, stores or draws."""

import ast
import subprocess
import sys
from pathlib import Path

import analysis

LOADS_ALL = """
import importlib, pkgutil, sys
import analysis
for module in pkgutil.walk_packages(analysis.__path__, "analysis."):
    importlib.import_module(module.name)
print(*sorted(sys.modules))
"""
HEAVY = {"torch", "ray", "mlflow", "optuna", "pandas", "altair", "vl_convert", "scipy.stats", "matplotlib"}


def test_loading_all_of_it_loads_nothing_that_trains_stores_or_draws():
    done = subprocess.run([sys.executable, "-c", LOADS_ALL], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_it_never_names_torch():
    for path in Path(analysis.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "bench.lazy":
                assert "torch" not in {name.name for name in node.names}, path
