"""What keeps a cluster alive on real nodes: heads that stay, requests and disks that fit, logs that outlive pods."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.infra.manifests import CLUSTER, INFRA, OBJECTS, PODS, load

GIB, UNITS = 2**30, {"m": 1e-3, "": 1.0, "Mi": 2**20, "Gi": 2**30}
HEAD = CLUSTER["headGroupSpec"]["template"]
RAY_PODS = {name: pod for name, pod in PODS.items() if name.startswith("ray ") and name != "ray job"}
# Of a node with 8 CPUs and 32 GiB what the clouds leave to pods, less a third of a CPU and 1 GiB for what runs on all.
NODE = {"cpu": 7.91 - 0.35, "memory": 28.3 * GIB - GIB}


def amount(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", text).groups()  # pyright: ignore
    return float(number) * UNITS[unit]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that run at the same time: sidecars are among the first."""
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def test_version_of_the_operator_is_one_everywhere() -> None:
    texts = [(INFRA / name).read_text() for name in ("README.md", "kuberay/raycluster.yaml")]
    said = [re.findall(r"(?:KubeRay(?: operator)?|kuberay-operator --version) (\d+\.\d+)", text) for text in texts]
    assert all(said)
    assert {version for versions in said for version in versions} == {"1.6"}


def test_head_is_not_on_a_spot_node_and_not_moved() -> None:
    assert HEAD["spec"]["nodeSelector"] == {"eks.amazonaws.com/capacityType": "ON_DEMAND"}
    assert "tolerations" not in HEAD["spec"]
    assert HEAD["metadata"]["annotations"] == {
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }
    classes = {item["metadata"]["name"]: item["value"] for _, item in OBJECTS if item["kind"] == "PriorityClass"}
    assert 0 < classes[HEAD["spec"]["priorityClassName"]] < 2_000_000_000, "below those of the system"


def test_what_holds_state_is_not_drained_away() -> None:
    budgets = [item for _, item in OBJECTS if item["kind"] == "PodDisruptionBudget"]
    assert {item["metadata"]["name"] for item in budgets} == {"bench-head", "postgres", "objects"}
    labels = {"ray.io/cluster": "bench", "ray.io/node-type": "head"}  # which KubeRay gives the head's pod
    for item in budgets:
        assert item["spec"]["minAvailable"] == 1
        pod = PODS.get(item["metadata"]["name"], {"metadata": {"labels": labels}})
        assert item["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]


@pytest.mark.parametrize("name", [name for name in RAY_PODS if name != "ray head"])
def test_worker_fits_a_node_of_8_cpus(name: str) -> None:
    for resource, there in NODE.items():
        asked = sum(amount(one["resources"]["requests"][resource]) for one in containers(RAY_PODS[name]))
        assert asked <= there, resource


@pytest.mark.parametrize("name", list(PODS))
def test_disk_of_a_pod_is_bounded_and_holds_its_folders(name: str) -> None:
    """A pod that writes more than its limit is evicted, and the folders below count."""
    volumes = [volume["emptyDir"] for volume in PODS[name]["spec"]["volumes"] if "emptyDir" in volume]
    assert all("sizeLimit" in volume for volume in volumes)
    folders = sum(amount(volume["sizeLimit"]) for volume in volumes if volume.get("medium") != "Memory")
    limits = [one["resources"]["limits"]["ephemeral-storage"] for one in containers(PODS[name])]
    assert sum(map(amount, limits)) >= folders


@pytest.mark.parametrize("name", list(RAY_PODS))
def test_logs_are_copied_until_the_pod_has_ended(name: str) -> None:
    sidecar = next(one for one in RAY_PODS[name]["spec"]["initContainers"] if one["name"] == "logs")
    assert sidecar["restartPolicy"] == "Always", "a sidecar, which ends after the other containers"
    mounts = {mount["mountPath"]: mount["name"] for mount in sidecar["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in RAY_PODS[name]["spec"]["volumes"]}
    assert volumes[mounts["/logs"]]["persistentVolumeClaim"] == {"claimName": "bench-logs"}
    ray = RAY_PODS[name]["spec"]["containers"][0]
    assert {"name": mounts["/tmp"], "mountPath": "/tmp"} in ray["volumeMounts"], "where Ray writes"
    config = f"{mounts['/fluent-bit/etc/bench']} /fluent-bit/etc/bench/fluent-bit.yaml"
    assert config == f"logs-config {sidecar['args'][0].removeprefix('--config=')}"


def test_logs_go_from_rays_folder_to_one_of_the_pods_own() -> None:
    pipeline = load(INFRA / "kuberay" / "fluent-bit.yaml")[0]["pipeline"]
    (source,), (target,) = pipeline["inputs"], pipeline["outputs"]
    assert all(path.startswith("/tmp/ray/session_latest/logs/") for path in source["path"].split(","))
    assert source["tag"] == target["match"]
    assert target["path"] == "/logs/${POD}"
    cluster = YAML(typ="safe").load((INFRA / "kuberay" / "kustomization.yaml").read_text())
    assert cluster["configMapGenerator"] == [
        {"name": "logs-config", "namespace": "bench", "files": ["fluent-bit.yaml"]}
    ]


def test_shared_files_belong_to_the_user_of_the_image() -> None:
    (files,) = load(INFRA / "kuberay" / "shared-files.yaml")
    user = str(HEAD["spec"]["securityContext"]["runAsUser"])
    assert (files["parameters"]["uid"], files["parameters"]["gid"]) == (user, user)
    shared = [item["spec"] for _, item in OBJECTS if item["kind"] == "PersistentVolumeClaim"]
    classes = {spec["storageClassName"] for spec in shared if spec["accessModes"] == ["ReadWriteMany"]}
    assert classes == {files["metadata"]["name"]}
