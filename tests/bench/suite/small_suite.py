"""A small suite as fields, in Python and from a file."""

from bench.suite import Suite, load_suite

FIELDS = {
    "name": "small",
    "workloads": [{"name": "in_context_regression", "num_steps": 50}],
    "methods": ["softmax", {"name": "window_softmax", "width": 4}],
    "optimizers": ["sgd"],
    "knobs": {"lr": [0.1, 1.0]},
    "seeds": 2,
    "probe_every": 10,
}


def suite(**fields):
    return Suite(**(FIELDS | fields))


def load(tmp_path, text, **options):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return load_suite(path, **options)
