"""OPTIMIZERS and SCHEDULES: every optimizer and learning-rate schedule under its name."""

OPTIMIZERS: dict[str, str] = {
    "sgd": "bench.optimizers.sgd:SGD",
    "sgd_momentum": "bench.optimizers.sgd:SGDMomentum",
    "adam": "bench.optimizers.adam:Adam",
    "adamw": "bench.optimizers.adam:AdamW",
    "adamw_independent": "bench.optimizers.adam:AdamWIndependent",
}

SCHEDULES: dict[str, str] = {
    "constant": "bench.optimizers.schedules:Constant",
    "cosine": "bench.optimizers.schedules:Cosine",
}
