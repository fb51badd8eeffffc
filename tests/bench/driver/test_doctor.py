"""What `bench doctor` finds, held to what this machine says of itself."""

import os
import platform
import shutil
from importlib import metadata

import psutil
import torch

from bench.driver import doctor
from bench.driver.doctor import MIN_FREE_BYTES, MIN_MEMORY_BYTES, examine
from bench.driver.manifest import PACKAGES


def test_findings_are_those_of_this_machine(tmp_path):
    found = examine(tmp_path / "not" / "yet" / "there")
    assert list(found) == ["python", "packages", "device", "memory", "disk", "store"]
    assert all(finding.keys() == {"ok", "text"} for finding in found.values())
    assert found["python"] == {"ok": True, "text": f"{platform.python_version()} (3.11 or newer is required)"}
    assert found["packages"]["ok"]
    assert f"polars {metadata.version('polars')}" in found["packages"]["text"]
    assert "missing" not in found["packages"]["text"]
    assert found["device"]["ok"]
    assert f"{os.cpu_count()} CPU cores" in found["device"]["text"]
    assert ("no CUDA device" in found["device"]["text"]) is not torch.cuda.is_available()
    assert found["store"] == {"ok": True, "text": f"{tmp_path}/not/yet/there can be written"}
    assert not (tmp_path / "not").exists()


def test_memory_and_disk_are_measured_against_what_is_required(tmp_path):
    found = examine(tmp_path / "store")
    for name, free, required in (
        ("memory", psutil.virtual_memory().available, MIN_MEMORY_BYTES),
        ("disk", shutil.disk_usage(tmp_path).free, MIN_FREE_BYTES),
    ):
        amount = float(found[name]["text"].partition(" GiB free")[0])
        assert abs(amount - free / 2**30) < max(1.0, 0.1 * amount)
        assert f"({required // 2**30} GiB or more is required)" in found[name]["text"]
        assert found[name]["ok"] is (amount >= required / 2**30)
    assert f"at {tmp_path} " in found["disk"]["text"]


def test_too_little_of_memory_and_disk_stands_in_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**60)
    found = examine(tmp_path)
    assert [name for name, finding in found.items() if not finding["ok"]] == ["memory", "disk"]


def test_a_store_below_a_file_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    found = examine(tmp_path / "file" / "store")["store"]
    assert found == {"ok": False, "text": f"{tmp_path}/file/store can NOT be written"}


def test_a_missing_package_stands_in_the_way_unless_it_is_optional(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", (*PACKAGES, "no-such-package"))
    found = examine(tmp_path)["packages"]
    assert not found["ok"]
    assert found["text"].endswith("; missing: no-such-package")
    monkeypatch.setattr(doctor, "OPTIONAL", ("triton", "no-such-package"))
    assert examine(tmp_path)["packages"]["ok"]
