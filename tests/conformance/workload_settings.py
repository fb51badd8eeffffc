"""Sizes of every workload that are small enough for tests, and of every parameter another value."""

from typing import Any

from tests.trials import SMALL, SMALL_LANGUAGE

# Small enough for a test.
SETTINGS: dict[str, dict[str, Any]] = {
    "in_context_regression": SMALL,
    "language_modeling": SMALL_LANGUAGE,
    "image_classification": {"num_steps": 8, "batch_size": 6, "depth": 1, "width": 8, "num_heads": 2},
    "speech_recognition": {
        "num_steps": 8,
        "batch_size": 6,
        "num_words": 1,
        "depth": 1,
        "width": 8,
        "num_heads": 2,
        "eval_utterances": 12,
    },
    "self_supervised_images": {
        "num_steps": 8,
        "batch_size": 6,
        "depth": 1,
        "width": 8,
        "num_heads": 2,
        "projector_width": 12,
        "projection_width": 6,
        "bank_size": 60,
        "num_queries": 40,
        "probe_examples": 4,
    },
    "translation": {
        "num_steps": 8,
        "batch_size": 6,
        "digits": 4,
        "depth": 1,
        "width": 8,
        "num_heads": 2,
        "held_out_pairs": 9,
    },
}
# What training reads from the workload, or what only saves memory; tested in tests/bench/test_train*.py.
ELSEWHERE: dict[str, dict[str, Any]] = {
    "final_loss_steps": {"final_loss_steps": 2},
    "num_micro_batches": {"num_micro_batches": 2},
    "checkpointing": {"checkpointing": True},
}
TRANSFORMER: dict[str, dict[str, Any]] = {
    "depth": {"depth": 2},
    "width": {"width": 12},
    "num_heads": {"num_heads": 1},
    "mlp": {"mlp": "swiglu"},
    "mlp_width": {"mlp_width": 5},
    "norm": {"norm": "rms"},
    "norm_placement": {"norm_placement": "post"},
    "norm_eps": {"norm_eps": 0.1},
    "positions": {"positions": "none"},
    "has_biases": {"has_biases": False},
    "dropout": {"dropout": 0.5},
    "attention_dropout": {"attention_dropout": 0.5},
    "precision": {"precision": "bfloat16"},
    "eval_every_steps": {"eval_every_steps": 2},
    "probe_examples": {"probe_examples": 1},
    "z_loss": {"z_loss": 0.1},
    "num_steps": {"num_steps": 9},
    "batch_size": {"batch_size": 5},
}
# Of every parameter another value, with the settings without which it would have no effect.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "in_context_regression": {
        "num_steps": {"num_steps": 9},
        "batch_size": {"batch_size": 5},
        "dimension": {"dimension": 3},
        "num_pairs": {"num_pairs": 6},
        "depth": {"depth": 2},
        "embedding": {"embedding": "learned"},
        "width": {"width": 8, "embedding": "learned"},
        "residual": {"residual": False, "depth": 2},
        "logit_scale": {"logit_scale": 2.0},
        "divide_by_keys": {"divide_by_keys": True},
        "query_is_key": {"query_is_key": True, "embedding": "pass_through"},
        "merged_query_key": {"merged_query_key": True},
        "num_batches": {"num_batches": 1},
        "initial_gain": {"initial_gain": 0.5},
    },
    "language_modeling": TRANSFORMER
    | {
        "corpus": {"corpus": "other"},
        "tokenizer": {"tokenizer": "bytes"},
        "model": {"model": "wortsman_2m"},
        "context": {"context": 9},
        "ties_embeddings": {"ties_embeddings": False},
        "initialisation": {"initialisation": "fan_in"},
        "vocabulary_size": {"vocabulary_size": 30},
        "eval_batches": {"eval_batches": 3},
    },
    "image_classification": TRANSFORMER
    | {
        "images": {"images": "mnist_5000", "patch": 4},
        "model": {"model": "vit_tiny"},
        "initialisation": {"initialisation": "gpt2"},
        "patch": {"patch": 4},
        "pool": {"pool": "mean"},
        "eval_batch_size": {"eval_batch_size": 100},
    },
    "speech_recognition": {
        name: change for name, change in TRANSFORMER.items() if name not in ("norm_placement", "z_loss")
    }
    | {
        "norm_placement": {"norm_placement": "pre"},
        "speech": {"speech": "recordings", "num_words": None},
        "joined": {"joined": 2, "speech": "recordings", "num_words": None},
        "max_frames": {"max_frames": 36, "speech": "recordings", "num_words": None},
        "num_words": {"num_words": 2},
        "model": {"model": "ctc_255m"},
        "initialisation": {"initialisation": "gpt2"},
        "window": {"window": 5},
        "stride": {"stride": 2},
        "layer_dropout": {"layer_dropout": 0.9},
        "time_masks": {"time_masks": 1},
        "time_mask_frames": {"time_masks": 1, "time_mask_frames": 5},
        "band_masks": {"band_masks": 1},
        "band_mask_bands": {"band_masks": 1, "band_mask_bands": 3},
        "eval_utterances": {"eval_utterances": 6},
    },
    "self_supervised_images": {name: change for name, change in TRANSFORMER.items() if name != "z_loss"}
    | {
        "images": {"images": "mnist_5000", "patch": 4},
        "model": {"model": "vit_tiny"},
        "initialisation": {"initialisation": "gpt2"},
        "patch": {"patch": 4},
        "pool": {"pool": "mean"},
        "probe_examples": {"probe_examples": 2},
        "objective": {"objective": "moco_v3"},
        "momentum": {"momentum": 0.5, "objective": "moco_v3"},
        "temperature": {"temperature": 0.5},
        "views": {"views": "crops"},
        "rotation_degrees": {"rotation_degrees": 10.0},
        "max_scale": {"max_scale": 1.5},
        "max_shift": {"max_shift": 0.25},
        "min_area": {"min_area": 0.5, "views": "crops"},
        "jitter": {"jitter": 0.8, "views": "crops"},
        "projector_width": {"projector_width": 10},
        "projection_width": {"projection_width": 5},
        "frozen_patches": {"frozen_patches": True},
        "bank_size": {"bank_size": 50},
        "num_queries": {"num_queries": 30},
    },
    "translation": TRANSFORMER
    | {
        "norm_placement": {"norm_placement": "pre"},
        "data": {"data": "pairs"},
        "max_tokens": {"data": "pairs", "max_tokens": 18},
        "digits": {"digits": 5},
        "held_out_pairs": {"held_out_pairs": 4},
        "model": {"model": "vaswani_6m", "width": None},
        "initialisation": {"initialisation": "gpt2"},
        "ties_embeddings": {"ties_embeddings": False},
        "label_smoothing": {"label_smoothing": 0.2},
        "layer_dropout": {"layer_dropout": 0.5},
        "generates": {"generates": True},
    },
}
