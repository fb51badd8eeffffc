"""The files of infra/ as they are loaded, and the pods that they start."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
YAML_FILES = sorted(INFRA.rglob("*.yaml"))
FOLDERS = ("kuberay", "kubernetes", "ingress", "monitoring")
NO_OBJECTS = ("kustomization.yaml", "fluent-bit.yaml")
MANIFESTS = [path for path in YAML_FILES if path.parent.name in FOLDERS and path.name not in NO_OBJECTS]
OF_NO_NAMESPACE = ("Namespace", "PriorityClass", "StorageClass", "ClusterIssuer")

SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY(_|$)|CREDENTIAL|ACCESS_KEY|STORE_URI|DATABASE_URI")


def load(path: Path) -> list[Any]:
    """All documents of a file; duplicate keys are errors."""
    return [document for document in YAML(typ="safe").load_all(path.read_text(encoding="utf-8")) if document]


OBJECTS = [(path, item) for path in MANIFESTS for item in load(path)]
OTHERS = ("ray.io/", "snapshot.storage.k8s.io/", "cert-manager.io/", "monitoring.coreos.com/")  # not Kubernetes's own
PLAIN = [(path, item) for path, item in OBJECTS if not item["apiVersion"].startswith(OTHERS)]
CLUSTER = next(item for _, item in OBJECTS if item["kind"] == "RayCluster")["spec"]
JOB = next(item for _, item in OBJECTS if item["kind"] == "RayJob")


def pod_templates() -> Iterator[tuple[str, dict[str, Any]]]:
    for _, item in OBJECTS:
        if item["kind"] in ("Deployment", "StatefulSet"):
            yield item["metadata"]["name"], item["spec"]["template"]
        if item["kind"] == "CronJob":
            yield item["metadata"]["name"], item["spec"]["jobTemplate"]["spec"]["template"]
    yield "ray head", CLUSTER["headGroupSpec"]["template"]
    for group in CLUSTER["workerGroupSpecs"]:
        yield f"ray {group['groupName']}", group["template"]
    yield "ray job", JOB["spec"]["submitterPodTemplate"]


PODS = dict(pod_templates())
