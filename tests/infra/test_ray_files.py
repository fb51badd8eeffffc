"""Ray's files checked without a cluster: KubeRay's objects by its fields, launcher files by Ray's own checks."""

import copy
import re
import shutil
import subprocess
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.infra.kuberay import SCHEMAS
from tests.infra.manifests import CLUSTER, INFRA, JOB, OBJECTS, PLAIN, PODS, ROOT, load

STORE = "/home/bench/.bench"


def as_applied() -> list[dict[str, Any]]:
    """KubeRay's objects as they are applied: rendered by kustomize where there is kubectl, and the job by itself."""
    if shutil.which("kubectl") is None:
        return [item for _, item in OBJECTS if item["kind"] in SCHEMAS]
    done = subprocess.run(["kubectl", "kustomize", INFRA / "kuberay"], capture_output=True, text=True, timeout=60)
    return [item for item in YAML(typ="safe").load_all(done.stdout) if item["kind"] in SCHEMAS] + [JOB]


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_object_is_one_that_kuberay_takes(kind: str) -> None:
    (item,) = [item for item in as_applied() if item["kind"] == kind]
    assert item["apiVersion"] == "ray.io/v1"
    jsonschema.validate(item["spec"], SCHEMAS[kind])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("rayVersions",), "2.60.0"),
        (("authOptions", "mode"), "tokens"),
        (("autoscalerOptions", "version"), 2),
        (("headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("workerGroupSpecs", 0, "minReplicas"), "0"),
    ],
)
def test_schema_refuses_what_kuberay_would(place: tuple[str | int, ...], value: Any) -> None:
    wrong = inner = copy.deepcopy(CLUSTER)
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMAS["RayCluster"])


def test_token_authentication_is_on() -> None:
    assert CLUSTER["authOptions"] == {"mode": "token"}


def test_workers_scale_from_zero() -> None:
    assert CLUSTER["enableInTreeAutoscaling"] is True
    for group in CLUSTER["workerGroupSpecs"]:
        assert group["minReplicas"] == 0 < group["maxReplicas"]


def test_no_pack_runs_on_the_head() -> None:
    parameters = CLUSTER["headGroupSpec"]["rayStartParams"]
    assert (parameters["num-cpus"], parameters["num-gpus"]) == ("0", "0")


def test_spot_workers_are_a_group_of_their_own() -> None:
    spot = next(group for group in CLUSTER["workerGroupSpecs"] if group["groupName"] == "gpu-spot")
    pod = spot["template"]["spec"]
    assert pod["nodeSelector"] == {"eks.amazonaws.com/capacityType": "SPOT"}
    assert "spot" in {toleration["key"] for toleration in pod["tolerations"]}


def test_pods_drain_within_their_grace_and_past_a_checkpoint() -> None:
    for group in CLUSTER["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        variables = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
        drain_s = int(variables["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert 60 < drain_s < pod["terminationGracePeriodSeconds"]


def test_outbox_is_the_heads_and_checkpoints_are_everybodys() -> None:
    store = re.search(r"BENCH_STORE=(\S+)", (INFRA / "docker" / "Containerfile").read_text())
    assert store is not None
    assert store[1] == STORE
    assert mounts("ray head") == {
        "bench-outbox": STORE,
        "bench-checkpoints": f"{STORE}/checkpoints",
    }
    for group in CLUSTER["workerGroupSpecs"]:
        assert mounts(f"ray {group['groupName']}") == {"bench-checkpoints": f"{STORE}/checkpoints"}
    claims = {
        item["metadata"]["name"]: item["spec"]["accessModes"]
        for _, item in PLAIN
        if item["kind"] == "PersistentVolumeClaim"
    }
    assert claims["bench-outbox"] == ["ReadWriteOnce"]
    assert claims["bench-checkpoints"] == ["ReadWriteMany"]


def test_job_runs_a_shipped_suite_on_this_cluster() -> None:
    from typer.main import get_command

    from bench.cli.app import app

    assert JOB["spec"]["clusterSelector"] == {"ray.io/cluster": "bench"}
    assert JOB["spec"]["shutdownAfterJobFinishes"] is False
    words = JOB["spec"]["entrypoint"].split()
    assert words[:4] == ["python", "-m", "bench.cli", "run"]
    assert (ROOT / "suites" / f"{words[4]}.yaml").is_file()
    command: Any = get_command(app)
    known = {name for parameter in command.commands["run"].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", ["aws", "machines"])
def test_launcher_file_passes_rays_own_checks(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(load(INFRA / "ray" / f"{name}.yaml")[0]))


@pytest.mark.parametrize("name", ["aws", "machines"])
def test_launcher_file_brings_the_token_and_hides_the_dashboard(name: str) -> None:
    config = load(INFRA / "ray" / f"{name}.yaml")[0]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "RAY_AUTH_MODE=token" in (INFRA / "docker" / "Containerfile").read_text()
    head = config["head_start_ray_commands"][-1]
    assert "ray start --head" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert f"--volume /var/lib/bench:{STORE}" in config["docker"]["run_options"]


def test_aws_scales_from_zero_on_spot() -> None:
    config = load(INFRA / "ray" / "aws.yaml")[0]
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    workers = {name: one for name, one in types.items() if name != config["head_node_type"]}
    assert {one["min_workers"] for one in workers.values()} == {0}
    assert workers["gpu-spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    for one in types.values():
        assert one["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}
        assert all(device["Ebs"]["Encrypted"] for device in one["node_config"]["BlockDeviceMappings"])


def mounts(name: str) -> dict[str, str]:
    """Where a Ray pod's first container has the claims that it mounts."""
    pod = PODS[name]["spec"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    paths = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    return {claim: paths[volume] for volume, claim in claims.items() if volume in paths}
