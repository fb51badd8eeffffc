"""What norm placements that have a paper are, as a paragraph of methods says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.paper.bibliography import keys_of
from analysis.paper.prose import Cite, Text

SETTING = "norm_placement"
_DEEPNORM = (
    "norms after each branch, with constant factors on the residual stream and on the deviation of initial weights"
)
# Of bench.models.norms, by its names.
WORDS: dict[str, str] = {
    "peri": "norms before and after each branch",
    "deepnorm": f"{_DEEPNORM}, those of the paper",
    "deepnorm_torchscale": f"{_DEEPNORM}, those of the authors' code",
    "admin": "norms after each branch, with learned factors on the residual stream, which start at the root of the "
    "variance that it has gathered, measured in one forward pass over the first batch of a seed",
}


def placements_text(suite: Mapping[str, Any]) -> Text:
    """What placements of the suite's workloads and knobs are; nothing of pre, post and none."""
    values = [entry.get(SETTING) for entry in suite["workloads"]] + [suite.get("knobs", {}).get(SETTING)]
    named = dict.fromkeys(name for value in values for name in (value if isinstance(value, list) else [value]))
    text: Text = []
    for name in (name for name in named if name in WORDS):
        text += ["; " if text else "Norm placements: ", name, Cite(keys=keys_of(SETTING, name)), f" are {WORDS[name]}"]
    return [*text, ". "] if text else []
