"""OPTIMIZERS and SCHEDULES: every optimizer and learning-rate schedule under its name."""

OPTIMIZERS: dict[str, str] = {
    "sgd": "bench.optimizers.sgd:SGD",
    "sgd_momentum": "bench.optimizers.sgd:SGDMomentum",
    "sgd_nesterov": "bench.optimizers.sgd:SGDNesterov",
    "rmsprop": "bench.optimizers.rmsprop:RMSprop",
    "adam": "bench.optimizers.adam:Adam",
    "adamw": "bench.optimizers.adam:AdamW",
    "adamw_independent": "bench.optimizers.adam:AdamWIndependent",
    "radam": "bench.optimizers.radam:RAdam",
    "adagrad": "bench.optimizers.adagrad:Adagrad",
    "adafactor": "bench.optimizers.adafactor:Adafactor",
    "lars": "bench.optimizers.lars:Lars",
    "lamb": "bench.optimizers.lamb:Lamb",
    "lion": "bench.optimizers.lion:Lion",
    "schedule_free_adamw": "bench.optimizers.schedule_free:ScheduleFreeAdamW",
    "muon": "bench.optimizers.muon:Muon",
    "shampoo": "bench.optimizers.shampoo:Shampoo",
}

SCHEDULES: dict[str, str] = {
    "constant": "bench.optimizers.schedules:Constant",
    "linear": "bench.optimizers.schedules:Linear",
    "cosine": "bench.optimizers.schedules:Cosine",
    "inverse_sqrt": "bench.optimizers.schedules:InverseSqrt",
    "step": "bench.optimizers.schedules:Step",
    "wsd": "bench.optimizers.schedules:WSD",
}
