"""Independent implementations of every optimizer, and their constants as published and changed."""

from unittest.mock import patch

import pytorch_optimizer
import torch

from bench.testing.optimizer_steps import NO_MATRICES, SHAPES

HIDDEN = [name for name in SHAPES if name.startswith("layers") and name.endswith("weight")]
# What does not decay, by the optimizer's `decays`; here as text, by hand.
EXEMPT = {
    "matrices": [*NO_MATRICES],
    "all": [],
    "all_but_embeddings": ["embed.tokens", "embed.class_token"],
}
EXEMPT_BY_ROLE = {"value": ["layers.*.value.weight"], "readout": ["readout.weight"], "bias": ["layers.*.query.bias"]}
MATRICES = [name for name, shape in SHAPES.items() if len(shape) == 2]


def pytorchs(make):
    """A reference from an optimizer of PyTorch's interface: make(tensors, entry, lr, weight_decay).

    What does not decay has an optimizer of its own.
    """

    def reference(params, entry, lr, weight_decay):
        exempt = exempt_names(entry)
        groups = {weight_decay: [], 0.0: []} if weight_decay else {0.0: []}
        for name, p in params.items():
            groups[0.0 if name in exempt else weight_decay].append(p)
        theirs = [make(tensors, entry, lr, decay) for decay, tensors in groups.items() if tensors]

        def step(factor):
            for one in theirs:
                for group in one.param_groups:
                    group["lr"] = factor * lr
                one.step()

        return step

    return reference


def exempt_names(entry) -> list[str]:
    if not hasattr(entry, "decays"):
        return []
    return EXEMPT[entry.decays] + [name for role in entry.no_decay or () for name in EXEMPT_BY_ROLE[role]]


def adam_settings(entry) -> dict:
    return {"betas": (entry.beta1, entry.beta2), "eps": entry.eps}


def lamb(params, entry, lr, weight_decay):
    """You et al. 2020, Alg. 2, in its own symbols; pytorch_optimizer's scales the decay by no ratio."""
    m, v = ({name: torch.zeros_like(x) for name, x in params.items()} for _ in range(2))
    t = 0

    def step(factor):
        nonlocal t
        t += 1
        for name, x in params.items():
            m[name] = entry.beta1 * m[name] + (1 - entry.beta1) * x.grad
            v[name] = entry.beta2 * v[name] + (1 - entry.beta2) * x.grad**2
            r = m[name] / (1 - entry.beta1**t) / ((v[name] / (1 - entry.beta2**t)) ** 0.5 + entry.eps)
            if name in exempt_names(entry):  # phi and the decay leave it out, as the authors' code does
                x.data -= factor * lr * r
                continue
            u = r + weight_decay * x.data
            x.data -= factor * lr * x.data.norm() / u.norm() * u

    return step


def lars(params, entry, lr, weight_decay):
    """pytorch_optimizer's for what decays, which takes matrices by their shapes alone; SGD for the others."""
    exempt = exempt_names(entry)
    flat = {name: p for name, p in params.items() if name not in exempt}
    rows = {name: torch.nn.Parameter(p.data.view(1, -1)) for name, p in flat.items()}  # share memory
    settings = {"momentum": entry.momentum, "trust_coefficient": entry.trust, "weight_decay": weight_decay}
    theirs = pytorch_optimizer.LARS(list(rows.values()), lr=lr, **settings) if rows else None
    plain = {name: p for name, p in params.items() if name in exempt}
    sgd_step = REFERENCES["sgd_momentum"](plain, entry, lr, 0) if plain else None

    def step(factor):
        for name, row in rows.items():
            row.grad = params[name].grad.reshape(1, -1).clone()  # theirs changes it
        if theirs is not None:
            theirs.param_groups[0]["lr"] = factor * lr
            theirs.step()
        if sgd_step is not None:
            sgd_step(factor)

    return step


def muon(params, entry, lr, weight_decay):
    """torch.optim.Muon, whose weights are (outputs, inputs), for hidden matrices; AdamW for the others."""
    turned = {name: torch.nn.Parameter(params[name].data.T) for name in HIDDEN if name in params}  # share memory
    others = {name: p for name, p in params.items() if name not in HIDDEN}
    settings = {"momentum": entry.momentum, "ns_steps": entry.num_iterations}
    hidden_step = pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.Muon(tensors, lr=lr, weight_decay=decay, **settings)
    )(turned, entry, lr, weight_decay)
    adamw_step = REFERENCES["adamw"](others, entry, lr * entry.adamw_lr_ratio, weight_decay)

    def step(factor):
        for name, p in turned.items():
            p.grad = params[name].grad.T
        with patch.object(torch.Tensor, "bfloat16", torch.Tensor.double):  # theirs rounds to three digits
            hidden_step(factor)
        adamw_step(factor)

    return step


def shampoo(params, entry, lr, weight_decay):
    """pytorch_optimizer's for matrices, by eigenvalues; for the others the diagonal version, which is Adagrad's."""
    others = {name: p for name, p in params.items() if name not in MATRICES}
    matrix_step = pytorchs(lambda tensors, entry, *_: pytorch_optimizer.Shampoo(tensors, matrix_eps=entry.eps))(
        {name: params[name] for name in MATRICES if name in params}, entry, lr, 0
    )
    adagrad = {"initial_accumulator_value": entry.eps, "eps": 0.0}
    diagonal_step = pytorchs(lambda tensors, *_: torch.optim.Adagrad(tensors, **adagrad))(others, entry, lr, 0)

    def step(factor):
        matrix_step(factor)
        diagonal_step(factor)

    return step


REFERENCES = {
    "sgd": pytorchs(lambda tensors, entry, lr, decay: torch.optim.SGD(tensors, weight_decay=decay)),
    "sgd_momentum": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.SGD(tensors, momentum=entry.momentum, weight_decay=decay)
    ),
    "sgd_nesterov": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.SGD(
            tensors, momentum=entry.momentum, nesterov=True, weight_decay=decay
        )
    ),
    "rmsprop": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.RMSprop(
            tensors, alpha=entry.beta2, eps=entry.eps, weight_decay=decay
        )
    ),
    "adam": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.Adam(tensors, **adam_settings(entry), weight_decay=decay)
    ),
    "adamw": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.AdamW(tensors, **adam_settings(entry), weight_decay=decay)
    ),
    # The product of the two is independent of the learning rate.
    "adamw_independent": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.AdamW(tensors, **adam_settings(entry), weight_decay=decay / lr)
    ),
    "radam": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.RAdam(tensors, **adam_settings(entry), weight_decay=decay)
    ),
    "adagrad": pytorchs(
        lambda tensors, entry, lr, decay: torch.optim.Adagrad(tensors, eps=entry.eps, weight_decay=decay)
    ),
    "adafactor": pytorchs(
        lambda tensors, entry, lr, decay: pytorch_optimizer.AdaFactor(
            tensors,
            betas=(None, 0.9999),
            decay_rate=-entry.decay_power,
            clip_threshold=entry.clip_threshold,
            eps1=entry.eps,
            scale_parameter=False,
            relative_step=False,
        )
    ),
    "lars": lars,
    "lamb": lamb,
    "lion": pytorchs(
        lambda tensors, entry, lr, decay: pytorch_optimizer.Lion(
            tensors, betas=(entry.beta1, entry.beta2), weight_decay=decay
        )
    ),
    "schedule_free_adamw": pytorchs(
        lambda tensors, entry, lr, decay: pytorch_optimizer.ScheduleFreeAdamW(
            tensors, **adam_settings(entry), weight_decay=decay
        )
    ),
    "muon": muon,
    "shampoo": shampoo,
}
# As the sources give them, and the implementations that the entries name.
PUBLISHED = {
    "sgd": {},
    "sgd_momentum": {"momentum": 0.9},
    "sgd_nesterov": {"momentum": 0.9},
    "rmsprop": {"beta2": 0.9, "eps": 1e-8},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw_independent": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "radam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adagrad": {"eps": 1e-10},
    "adafactor": {"decay_power": 0.8, "clip_threshold": 1.0, "eps": 1e-30},
    "lars": {"momentum": 0.9, "trust": 1e-3},
    "lamb": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6},
    "lion": {"beta1": 0.9, "beta2": 0.99},
    "schedule_free_adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "muon": {
        "momentum": 0.95,
        "num_iterations": 5,
        "adamw_lr_ratio": 3e-4 / 0.02,
        "beta1": 0.9,
        "beta2": 0.95,
        "eps": 1e-10,
    },
    "shampoo": {"eps": 1e-4},
}
# Away from every default.
CHANGED = {
    "momentum": 0.5,
    "beta1": 0.6,
    "beta2": 0.7,
    "eps": 1e-2,
    "decay_power": 0.5,
    "clip_threshold": 0.6,
    "num_iterations": 3,
    "adamw_lr_ratio": 0.3,
    "trust": 0.02,
}
