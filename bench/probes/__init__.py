"""Probes: what is measured during training beside the loss. PROBES: every probe under its name."""

from __future__ import annotations

from collections.abc import Sequence

from bench.entry import build
from bench.probes.base import Probe
from bench.trial import Choice

PROBES: dict[str, str] = {
    "entropy": "bench.probes.attention:Entropy",
    "entropy_share": "bench.probes.attention:EntropyShare",
    "frobenius_norm": "bench.probes.attention:FrobeniusNorm",
    "row_mass": "bench.probes.attention:RowMass",
    "logit_variance": "bench.probes.attention:LogitVariance",
    "max_logit": "bench.probes.attention:MaxLogit",
    "row_norms": "bench.probes.row_norms:RowNorms",
    "heads": "bench.probes.heads:Heads",
    "sharp_rows": "bench.probes.heads:SharpRows",
    "spectral_norms": "bench.probes.weights:SpectralNorms",
    "gammas": "bench.probes.weights:Gammas",
    "norms": "bench.probes.updates:Norms",
    "layer_gradients": "bench.probes.updates:LayerGradients",
    "second_moments": "bench.probes.updates:SecondMoments",
    "gradient_kurtosis": "bench.probes.updates:GradientKurtosis",
    "hessian": "bench.probes.curvature:HessianEigenvalue",
    "sharpness": "bench.probes.curvature:Sharpness",
    "curvature": "bench.probes.curvature:Curvature",
    "critical_sharpness": "bench.probes.curvature:CriticalSharpness",
}
# Of a suite that names none. Trials with these have ids without a word of probes, so that others need another name.
DEFAULT_PROBES: tuple[str, ...] = ("entropy", "frobenius_norm", "row_mass", "logit_variance", "max_logit")


def build_probes(choices: Sequence[Choice] | None) -> tuple[Probe, ...]:
    """The probes of a trial; None: those of DEFAULT_PROBES."""
    if choices is None:
        choices = [Choice(name=name, params={}) for name in DEFAULT_PROBES]
    return tuple(build(PROBES, choice) for choice in choices)
