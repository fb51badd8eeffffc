"""Every method, optimizer, schedule, probe and workload setting as a case of training to be compiled: CASES by name.

Derived from the registries and from the fields of workloads, so that what is new is a case or fails a test.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.models import decoder, encoder_decoder, speech_encoder, vit
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.probes import PROBES
from bench.testing.variants import options
from bench.training.pack import Pack
from bench.trial import Choice, Knobs, Trial
from bench.workloads import WORKLOADS
from tests.conformance.workload_settings import CHANGES, ELSEWHERE
from tests.trials import LEAN, choice, corpus

NUM_STEPS = 20
LENGTH = {"num_steps": NUM_STEPS, "final_loss_steps": 3}
EVALUATED = LENGTH | {"depth": 1, "width": 64, "num_heads": 2, "eval_every_steps": 10, "probe_examples": 4}
# Wide enough for matrix kernels, which Inductor leaves alone; the regression is for those that it writes itself.
BASES: dict[str, dict[str, Any]] = {
    "in_context_regression": LENGTH | {"batch_size": 32, "depth": 1},
    "language_modeling": EVALUATED | {"tokenizer": "characters", "batch_size": 8, "context": 32, "eval_batches": 2},
    "image_classification": EVALUATED | {"batch_size": 16},
    "speech_recognition": EVALUATED | {"batch_size": 8, "num_words": 1, "eval_utterances": 16},
    "self_supervised_images": EVALUATED | {"batch_size": 16, "bank_size": 100, "num_queries": 50},
    "translation": EVALUATED | {"batch_size": 8, "digits": 4, "held_out_pairs": 16},
}
# Rates of SGD at which no difference grows: of the regression at 0.1, layer normalisation and cosFormer made 1e-3 of
# 1e-7 in 20 steps, and contrastive learning 5e-3, at 0.005 still 4e-4.
STABLE = {
    "in_context_regression": 0.02,
    "language_modeling": 0.1,
    "image_classification": 0.1,
    "speech_recognition": 0.002,
    "self_supervised_images": 0.001,
    "translation": 0.1,
}
# Nothing but other numbers.
DATA = {"corpus", "tokenizer", "images", "speech", "joined", "max_frames", "data", "max_tokens"}
APART = {"num_micro_batches", "checkpointing", "precision"}  # other programs, not in company
PRESETS: dict[str, Mapping[str, Any]] = {
    "in_context_regression": {},
    "language_modeling": decoder.PRESETS,
    "image_classification": vit.PRESETS,
    "speech_recognition": speech_encoder.PRESETS,
    "self_supervised_images": vit.PRESETS,
    "translation": encoder_decoder.PRESETS,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained, in `num_lanes` lanes of knobs of their own. settings: of the workload, beside BASES."""

    workload: str = "language_modeling"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    method: str = "softmax"
    optimizer: str = "sgd"
    schedule: str = "constant"
    probes: tuple[str, ...] | None = None
    lr: float | None = None  # else that of STABLE
    num_lanes: int = 2

    @property
    def is_mixed(self) -> bool:
        return "precision" in self.settings and self.settings["precision"] == "bfloat16"

    @property
    def pack(self) -> Pack:
        own = {"corpus": corpus()} if self.workload == "language_modeling" else {}
        chosen = choice(WORKLOADS, self.workload, **(own | BASES[self.workload] | dict(self.settings)))
        digest = load_class(WORKLOADS[self.workload])(**chosen.params).data_digest()
        common: dict[str, Any] = {
            "workload": dataclasses.replace(chosen, digest=digest),
            "method": choice(METHODS, self.method),
            "optimizer": choice(OPTIMIZERS, self.optimizer),
            "schedule": choice(SCHEDULES, self.schedule),
            "probe_every": 10,
            "probes": None if self.probes is None else tuple(Choice(name=name, params={}) for name in self.probes),
        }
        return Pack(trials=tuple(Trial(knobs=self.knobs(lane), seed=lane, **common) for lane in range(self.num_lanes)))

    def knobs(self, lane: int) -> Knobs:
        """All lane knobs act, in every lane otherwise."""
        return Knobs(
            lr=(self.lr or STABLE[self.workload]) / (1 + lane),
            warmup_steps=3 * lane,
            weight_decay=0.1 * lane,
            grad_clip=1.0 + lane,
            init_scale=1.0 + 0.1 * lane,
        )


def settings_of(workload: str) -> list[dict[str, Any]]:
    """Settings that together give every parameter of a workload but those of DATA every value that is named, or another
    than it has in BASES. What does not exclude each other acts together."""
    together: list[dict[str, Any]] = []
    sizes: dict[str, Any] = {}
    apart: list[dict[str, Any]] = []
    for name, settings in _singly(workload):
        if name in APART:
            apart.append(settings)
        elif type(settings[name]) is int:
            sizes |= {name: settings[name]}
        else:
            fitting = (row for row in together if all(row.get(key, settings[key]) == settings[key] for key in settings))
            row = next(fitting, None)
            if row is None:
                together.append(row := {})
            row |= settings
    return [*together, sizes | {"num_heads": 2} if "num_heads" in sizes else sizes, *apart]


def _singly(workload: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each parameter with each of its other values, or one; and what it needs to act."""
    declared, changes = parameters(load_class(WORKLOADS[workload])), CHANGES[workload] | ELSEWHERE
    presets = PRESETS[workload]
    structures = [declared["model"][1]] if presets else []
    for name, (annotation, default) in declared.items():
        base = BASES[workload].get(name, default)
        kinds = (annotation, *get_args(annotation))
        named = [False, True] if bool in kinds else [option for kind in kinds for option in options(kind)]
        if name == "model":
            for model in named:
                if all(structure_of(presets[model]) != structure_of(presets[other]) for other in structures):
                    structures.append(model)
                    yield name, {name: model}
        elif named and name not in DATA:
            base = presets[structures[0]][name] if base is None else base
            yield from ((name, changes[name] | {name: value}) for value in named if value != base)
        elif name not in DATA:
            yield name, changes[name]


def structure_of(preset: Mapping[str, Any]) -> dict[str, Any]:
    """A preset without its sizes, which BASES replace."""
    sizes = ("num_layers", "width", "num_heads", "mlp_width")
    return {name: value for name, value in preset.items() if name not in sizes}


def _of_workloads() -> Iterator[tuple[str, Case]]:
    for workload in WORKLOADS:
        for settings in settings_of(workload):
            lanes = 1 if "checkpointing" in settings else 2  # what is computed again trains alone
            words = " ".join(f"{name}={value}" for name, value in settings.items())
            yield f"{workload} {words}", Case(workload=workload, settings=settings, num_lanes=lanes)
        yield f"{workload}, three lanes", Case(workload=workload, num_lanes=3)
        yield f"{workload}, alone", Case(workload=workload, num_lanes=1)


MIXED = {"precision": "bfloat16"}
NANOGPT = {"has_biases": False, "dropout": 0.2} | MIXED
TOGETHER: dict[str, Case] = {
    "nanogpt": Case(settings=NANOGPT, optimizer="adamw", lr=1e-3),
    "nanogpt alone": Case(settings=NANOGPT, optimizer="adamw", lr=1e-3, num_lanes=1),
    "wortsman": Case(settings={"model": "wortsman_2m"}, optimizer="adamw", lr=1e-3),
    "llama in parts": Case(settings=MIXED | {"model": "llama_1m", "num_micro_batches": 4, "z_loss": 1e-4}),
    "dropout in parts": Case(settings={"dropout": 0.2, "num_micro_batches": 2}),
    "dropout computed again": Case(settings=MIXED | {"dropout": 0.2, "checkpointing": True}, num_lanes=1),
    "clipping in parts": Case(settings={"num_micro_batches": 2}, method="qk_clip"),
    "sigma_reparam with dropout": Case(settings={"dropout": 0.2}, method="sigma_reparam"),
    "relu_kernel with dropout": Case(settings={"dropout": 0.2}, method="relu_kernel"),
    "mixed images": Case(workload="image_classification", settings=MIXED | {"dropout": 0.1}),
}
LRS = {"sgd": 0.1, "sgd_momentum": 0.03, "sgd_nesterov": 0.03, "muon": 0.01, "shampoo": 0.01}  # others: 1e-3
CASES: dict[str, Case] = {
    **{f"{name} on regression": Case(workload="in_context_regression", method=name) for name in METHODS},
    **{f"{name} on language, mixed": Case(method=name, settings=LEAN | MIXED) for name in METHODS},
    **{
        name: Case(optimizer=name, lr=LRS.get(name, 1e-3), settings=LEAN | {"norm_placement": "pre"})
        for name in OPTIMIZERS
    },
    **{f"{name} schedule": Case(workload="in_context_regression", schedule=name) for name in SCHEDULES},
    **{
        f"all probes on {workload}": Case(workload=workload, probes=tuple(PROBES))
        for workload in ("in_context_regression", "language_modeling")
    },
    **dict(_of_workloads()),
    **TOGETHER,
}
