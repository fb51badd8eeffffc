"""What a manifest holds of a suite run, and what it never does."""

import json
import os
import socket

from bench.driver.manifest import manifest, num_cpus
from bench.suite import Context, Suite
from tests.bench.store import finished_packs


def test_manifest_holds_seeds_data_and_determinism():
    plain = {
        **finished_packs.PLAIN_SUITE,
        "workloads": [{"name": "image_classification", "num_steps": 2}, "in_context_regression"],
        "seeds": [3, 5],
    }
    suite = Suite.model_validate(plain, context=Context(allow_code=False))
    held = manifest(suite, device="2 CPU", has_gpu=False)
    assert held["manifest_version"] == 2
    assert held["seeds"] == [3, 5]
    (digest,) = held["data_sha256"].values()  # regression has no data but what seeds give
    assert {len(digest), *digest} <= {64, *"0123456789abcdef"}
    assert held["data_sha256"].keys() == {suite.entries["workloads"][0].label}
    assert held["determinism"]["cuda_matmul_allow_tf32"] is False
    assert held["determinism"]["deterministic_algorithms"] is False


def test_manifest_says_what_raw_pixels_say_beside_representations():
    plain = {
        **finished_packs.PLAIN_SUITE,
        "workloads": [{"name": "self_supervised_images", "num_steps": 2}, "in_context_regression"],
    }
    suite = Suite.model_validate(plain, context=Context(allow_code=False))
    facts = manifest(suite, device="2 CPU", has_gpu=False)["data_facts"]
    assert facts.keys() == {suite.entries["workloads"][0].label}
    [of_digits] = facts.values()
    assert of_digits["raw_pixels"] == {"val_knn_accuracy": 0.7688, "val_probe_accuracy": 0.5209}


def test_manifest_holds_no_host_user_path_or_secret(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a very secret key")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:a-password@a-host")
    text = json.dumps(manifest(finished_packs.suite("suite"), device="2 CPU", has_gpu=False))
    for hidden in (socket.gethostname(), os.path.expanduser("~/"), os.getcwd(), "secret", "a-password", "a-host"):
        assert hidden not in text


def test_a_manifest_says_on_how_many_cpus_packs_trained():
    suite = finished_packs.suite("suite")
    counts = {device: num_cpus(manifest(suite, device=device, has_gpu=False)) for device in ("2 CPU", "16 CPU")}
    assert counts == {"2 CPU": 2, "16 CPU": 16}
    assert num_cpus(manifest(suite, device="1 GPU (H100)", has_gpu=True)) is None
    assert num_cpus({}) is None
