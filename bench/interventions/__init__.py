"""Interventions: what is done to a run from a step on, beside an untouched twin. INTERVENTIONS: each under its name."""

INTERVENTIONS: dict[str, str] = {
    "temperature": "bench.interventions.attention:Temperature",
    "logit_scale": "bench.interventions.attention:LogitScale",
    "logit_clamp": "bench.interventions.attention:LogitClamp",
    "entropy_floor": "bench.interventions.attention:EntropyFloor",
    "lr_factor": "bench.interventions.updates:LrFactor",
    "gradient_noise": "bench.interventions.updates:GradientNoise",
    "frozen": "bench.interventions.updates:Frozen",
}
