"""The notebooks of suites/: their cells run in order as a kernel runs them. `python -m tests.notebooks` writes outputs.

A cell's output is what it prints, and of its last expression what Jupyter would show: HTML, a chart as Vega-Lite and
as PNG, which pages that run no script show, or text.
"""

import ast
import base64
import builtins
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

FOLDER = Path(__file__).parents[1] / "suites"


class ZMQInteractiveShell:
    """What a kernel has this name for, by which libraries know that they are in a notebook."""


def notebooks() -> list[Path]:
    """The notebooks that are shipped."""
    return sorted(FOLDER.glob("*.ipynb"))


def run_cells(notebook: dict[str, Any]) -> None:
    """Runs its cells in order in the current folder and keeps their outputs in it; raises what a cell raises."""
    names: dict[str, Any] = {"__name__": "__main__"}
    builtins.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    sys.path.insert(0, "")
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            value = _value("".join(cell["source"]), names)
        streams = [("stdout", out.getvalue()), ("stderr", _last_of_lines(err.getvalue()))]
        cell["outputs"] = [
            {"name": name, "output_type": "stream", "text": text.splitlines(keepends=True)}
            for name, text in streams
            if text
        ]
        if value is not None:
            shown = {"data": _shown(value), "execution_count": number, "metadata": {}, "output_type": "execute_result"}
            cell["outputs"].append(shown)
        cell["execution_count"] = number


def _value(source: str, names: dict[str, Any]) -> Any:
    """What the last expression of a cell is, None without one."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def _last_of_lines(text: str) -> str:
    """Each line as it stands at its end, after what was written over it."""
    return "".join(line.rpartition("\r")[2].rstrip() + "\n" for line in text.split("\n") if line.strip())


def _shown(value: Any) -> dict[str, Any]:
    if isinstance(value, alt.TopLevelMixin):
        spec = value.to_dict()
        png = base64.b64encode(vl_convert.vegalite_to_png(spec)).decode()
        return {"application/vnd.vegalite.v6+json": spec, "image/png": png, "text/plain": "a chart"}
    html = {"text/html": value._repr_html_()} if hasattr(value, "_repr_html_") else {}
    return {**html, "text/plain": repr(value)}


def main() -> None:
    """Runs the notebooks in an empty folder: all of them and keeps what they show, or that of the argument alone."""
    chosen = [Path(word).resolve() for word in sys.argv[1:]]
    for path in chosen or notebooks():
        notebook = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            os.environ.pop("BENCH_STORE", None)
            run_cells(notebook)
        if not chosen:
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
