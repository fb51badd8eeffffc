"""Interventions: what is done to a run from a step on, beside an untouched twin. INTERVENTIONS: each under its name."""

INTERVENTIONS: dict[str, str] = {
    "temperature": "bench.interventions.attention:Temperature",
    "logit_scale": "bench.interventions.attention:LogitScale",
    "logit_clamp": "bench.interventions.attention:LogitClamp",
    "entropy_floor": "bench.interventions.attention:EntropyFloor",
    "entropy_thermostat": "bench.interventions.thermostat:EntropyThermostat",
    "method_swapped": "bench.interventions.attention:MethodSwapped",
    "lr_factor": "bench.interventions.updates:LrFactor",
    "gradient_noise": "bench.interventions.updates:GradientNoise",
    "batch_share": "bench.interventions.updates:BatchShare",
    "frozen": "bench.interventions.updates:Frozen",
    "spectral_norm_held": "bench.interventions.updates:SpectralNormHeld",
}
