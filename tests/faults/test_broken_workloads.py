"""Broken suites, continued: workloads."""

import pytest

from tests.faults.test_broken_suites import assert_reported

IN_CONTEXT = "{name: in_context_regression, num_steps: 50}"
DENSE = "{log: [1e-9, 1], per_decade: [1, 2, 3, 4, 5, 6, 7, 8, 9]}"
LANGUAGE = "{name: language_modeling, num_steps: 50, "

# What replaces what in GOOD, where the error stands, and what it says.
EDITS = {
    "workload without a name": (IN_CONTEXT, "{num_steps: 50}", "4:5", "name is required: which workload?"),
    "workload steps text": ("num_steps: 50", "num_steps: many", "4:46", "num_steps must be a whole number, got 'many'"),
    "workload steps zero": (
        "num_steps: 50",
        "num_steps: 0",
        "4:46",
        "num_steps must be greater than or equal to 1, got 0",
    ),
    "workload steps huge": (
        "num_steps: 50",
        "num_steps: 99999999999999999999",
        "4:46",
        "an integer must fit in 64 bits",
    ),
    "workload batch zero": (
        "num_steps: 50",
        "batch_size: 0",
        "4:47",
        "batch_size must be greater than or equal to 1, got 0",
    ),
    "workload depth zero": ("num_steps: 50", "depth: 0", "4:42", "depth must be greater than or equal to 1, got 0"),
    "workload width negative": (
        "num_steps: 50",
        "width: -1",
        "4:42",
        "width must be greater than or equal to 1, got -1",
    ),
    "workload dimension a float": (
        "num_steps: 50",
        "dimension: 3.5",
        "4:46",
        "dimension must be a whole number written without a point, got 3.5",
    ),
    "workload gain negative": (
        "num_steps: 50",
        "initial_gain: -0.1",
        "4:49",
        "initial_gain must be greater than 0, got -0.1",
    ),
    "workload scale nan": (
        "num_steps: 50",
        "logit_scale: .nan",
        "4:48",
        "logit_scale must be a finite number, got .nan",
    ),
    "workload twice": (
        IN_CONTEXT,
        IN_CONTEXT + "\n  - " + IN_CONTEXT,
        "5:5",
        "in_context_regression(num_steps=50) is listed twice; remove one (line 4)",
    ),
    "workload unknown model": (
        IN_CONTEXT,
        LANGUAGE + "model: gpt_1b}",
        "4:53",
        "model must be 'gpt_1m', 'gpt_10m', 'gpt2_124m', 'wortsman_2m', 'wortsman_10m', 'llama_1m'",
    ),
    "workload unknown precision": (
        IN_CONTEXT,
        LANGUAGE + "precision: float16}",
        "4:57",
        "precision must be 'float32' or 'bfloat16', got 'float16'; did you mean 'bfloat16'?",
    ),
    "workload dropout of one": (IN_CONTEXT, LANGUAGE + "dropout: 1.0}", "4:55", "dropout must be less than 1, got 1.0"),
    "workload dropout negative": (
        IN_CONTEXT,
        LANGUAGE + "dropout: -0.1}",
        "4:55",
        "dropout must be greater than or equal to 0, got -0.1",
    ),
    "workload unknown tokenizer": (
        IN_CONTEXT,
        LANGUAGE + "tokenizer: byte}",
        "4:57",
        "tokenizer must be 'bytes', 'characters', 'bpe' or 'gpt2', got 'byte'; did you mean 'bytes'?",
    ),
    "workload unknown corpus": (
        IN_CONTEXT,
        LANGUAGE + "corpus: nowhere}",
        "4:12",
        "nowhere: no such file or folder; required 'python' (the Python standard library), a",
    ),
    "workload heads that do not divide": (
        IN_CONTEXT,
        LANGUAGE + "width: 128, num_heads: 5}",
        "4:5",
        "'language_modeling' refuses its parameters: width must be a multiple of num_heads, got",
    ),
    "workload micro-batches that do not divide": (
        IN_CONTEXT,
        LANGUAGE + "batch_size: 16, num_micro_batches: 3}",
        "4:5",
        "'language_modeling' refuses its parameters: batch_size must be a multiple of",
    ),
    "workload context zero": (
        IN_CONTEXT,
        LANGUAGE + "context: 0}",
        "4:55",
        "context must be greater than or equal to 2, got 0",
    ),
    "workload z_loss negative": (
        IN_CONTEXT,
        LANGUAGE + "z_loss: -1}",
        "4:54",
        "z_loss must be greater than or equal to 0, got -1",
    ),
    "workload unknown norm": (
        IN_CONTEXT,
        LANGUAGE + "norm: layernrm}",
        "4:52",
        "norm must be 'layer' or 'rms', got 'layernrm'; did you mean 'layer'?",
    ),
    "images unknown": (
        IN_CONTEXT,
        "{name: image_classification, images: cifar}",
        "4:12",
        "cifar: no such images or folder; images that exist: digits, mnist_5000, or the path of a",
    ),
    "images patch that does not divide": (
        IN_CONTEXT,
        "{name: image_classification, patch: 3}",
        "4:12",
        "images 'digits': patch must divide the sides of the images, got 3 for 8 x 8",
    ),
    "images fewer than a batch": (
        IN_CONTEXT,
        "{name: self_supervised_images, batch_size: 2000}",
        "4:12",
        "images 'digits': batch_size must be at most the 1,438 images that there are to learn from, got 2000",
    ),
    "pairs in parts": (
        IN_CONTEXT,
        "{name: self_supervised_images, num_micro_batches: 2}",
        "4:36",
        "workload 'self_supervised_images' has no num_micro_batches, remove it: an image is compared with",
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_broken_workload_is_reported_where_it_stands(case, tmp_path):
    assert_reported(EDITS[case], tmp_path)
