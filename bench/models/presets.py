"""with_overrides(): the settings of a preset, changed where a user says otherwise, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_overrides(preset: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a transformer: the preset's with overrides; one that is None leaves the preset's value.

    Another width alone keeps the MLP as many times as wide. Raises ValueError for a bad combination.
    """
    settings = {**preset, **{name: value for name, value in overrides.items() if value is not None}}
    if overrides.get("width") is not None and overrides.get("mlp_width") is None:
        settings["mlp_width"] = settings["width"] * preset["mlp_width"] // preset["width"]
    width, num_heads = settings["width"], settings["num_heads"]
    if width % num_heads:
        raise ValueError(f"width must be a multiple of num_heads, got {width} and {num_heads}")
    if settings["positions"] == "rotary" and width // num_heads % 2:
        raise ValueError("rotary positions need heads of even width")
    if settings["positions"] == "sinusoidal" and width % 2:
        raise ValueError(f"sinusoidal positions need an even width, got {width}")
    return settings
