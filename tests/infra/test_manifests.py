"""Kubernetes files checked without a cluster: by its own schemas (kubernetes-validate), and what is locked down."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.infra.manifests import (
    CLUSTER,
    INFRA,
    OBJECTS,
    OF_NO_NAMESPACE,
    PLAIN,
    PODS,
    SECRET_NAME,
    YAML_FILES,
    load,
)

BY_THEMSELVES = ("rayjob.yaml", "shared-files.yaml", "snapshot.yaml")
KUBERNETES = "1.32"

pods = pytest.mark.parametrize("pod", [pytest.param(pod["spec"], id=name) for name, pod in PODS.items()])


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_yaml_parses_and_has_no_duplicate_keys(path: Path) -> None:
    assert load(path)


class TestKubernetes:
    @pytest.mark.parametrize(
        "item", [pytest.param(item, id=f"{item['kind']}-{item['metadata']['name']}") for _, item in PLAIN]
    )
    def test_object_matches_the_schema(self, item: dict[str, Any]) -> None:
        validate = pytest.importorskip("kubernetes_validate").validate
        assert validate(item, KUBERNETES, strict=True) == KUBERNETES

    @pytest.mark.parametrize("name", [name for name in PODS if name.startswith("ray")])
    def test_pod_template_of_ray_matches_the_schema(self, name: str) -> None:
        validate = pytest.importorskip("kubernetes_validate").validate
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": PODS[name]}
        assert validate(template, KUBERNETES, strict=True) == KUBERNETES

    def test_container_of_the_autoscaler_matches_the_schema(self) -> None:
        validate = pytest.importorskip("kubernetes_validate").validate
        options = CLUSTER["autoscalerOptions"]
        container = {name: options[name] for name in ("resources", "securityContext", "volumeMounts")}
        spec = {"containers": [{"name": "autoscaler", "image": "x", **container}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
        assert validate(pod, KUBERNETES, strict=True) == KUBERNETES

    @pytest.mark.parametrize(
        ("folder", "made"),
        [("kuberay", {("ConfigMap", "logs-config")}), ("mlflow/kubernetes", {("ConfigMap", "backup-scripts")})],
    )
    def test_kustomize_renders_every_object(self, folder: str, made: set[tuple[str, str]]) -> None:
        if shutil.which("kubectl") is None:
            pytest.skip("needs kubectl")
        done = subprocess.run(["kubectl", "kustomize", INFRA / folder], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        rendered = {(item["kind"], item["metadata"]["name"]) for item in YAML(typ="safe").load_all(done.stdout)}
        expected = {
            (item["kind"], item["metadata"]["name"])
            for path, item in OBJECTS
            if path.parent == INFRA / folder and path.name not in BY_THEMSELVES
        }
        made = YAML(typ="safe").load((INFRA / folder / "kustomization.yaml").read_text())["configMapGenerator"]
        assert rendered == expected | {("ConfigMap", item["name"]) for item in made}

    def test_objects_are_in_a_namespace_that_enforces_restrictions(self) -> None:
        spaces = {
            item["metadata"]["name"]: item["metadata"]["labels"] for _, item in PLAIN if item["kind"] == "Namespace"
        }
        inside = [item for _, item in OBJECTS if item["kind"] not in OF_NO_NAMESPACE]
        others = {"monitoring"}  # Prometheus's own; what is there starts no pods
        assert {item["metadata"]["namespace"] for item in inside} == set(spaces) | others
        for labels in spaces.values():
            assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    @pods
    def test_pod_has_no_more_rights_than_it_needs(self, pod: dict[str, Any]) -> None:
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not any("hostPath" in volume for volume in pod["volumes"])
        for container in pod["containers"] + pod.get("initContainers", []):
            check_container(container["securityContext"])

    def test_autoscaler_has_no_more_rights_than_it_needs(self) -> None:
        check_container(CLUSTER["autoscalerOptions"]["securityContext"])

    @pytest.mark.parametrize("name", [name for name in PODS if name != "ray head"])
    def test_only_the_head_gets_a_token_of_the_api_server(self, name: str) -> None:
        assert PODS[name]["spec"]["automountServiceAccountToken"] is False

    @pods
    def test_resources_have_requests_and_limits(self, pod: dict[str, Any]) -> None:
        for container in pod["containers"]:
            for kind in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"][kind])
            gpus = {container["resources"][kind].get("nvidia.com/gpu") for kind in ("requests", "limits")}
            assert len(gpus) == 1

    @pods
    def test_every_mount_has_its_volume(self, pod: dict[str, Any]) -> None:
        claims = {"data"}  # volumeClaimTemplates
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes

    def test_secrets_of_pods_are_references(self) -> None:
        secrets = {
            (name, variable["name"]): variable
            for name, pod in PODS.items()
            for container in pod["spec"]["containers"]
            for variable in container.get("env", [])
            if SECRET_NAME.search(variable["name"])
        }
        assert {name for name, _ in secrets} == {"mlflow", "objects", "postgres", "postgres-backup", "ray head"}
        for variable in secrets.values():
            assert set(variable) == {"name", "valueFrom"}, variable["name"]
            assert set(variable["valueFrom"]) == {"secretKeyRef"}

    def test_no_secret_is_shipped(self) -> None:
        assert not [path for path, item in OBJECTS if item["kind"] == "Secret"]

    @pytest.mark.parametrize("namespace", ["bench", "bench-tracking"])
    def test_nothing_is_admitted_that_is_not_named(self, namespace: str) -> None:
        policies = [
            item["spec"]
            for _, item in PLAIN
            if item["kind"] == "NetworkPolicy" and item["metadata"]["namespace"] == namespace
        ]
        assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
        for policy in policies:
            for rule in policy.get("ingress", []):
                assert rule["from"]
                for source in rule["from"]:
                    assert "ipBlock" not in source
                    assert source.get("namespaceSelector") != {}  # every namespace

    def test_names_are_asked_of_the_clusters_own_service_alone(self) -> None:
        asked = [rule for _, rule in egress_rules() if 53 in [port["port"] for port in rule.get("ports", [])]]
        assert len(asked) == 3  # all pods of one namespace, and of the other MLflow and the backup
        dns = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
        assert all(rule["to"] == [dns] for rule in asked)

    def test_nothing_may_call_whom_no_rule_names(self) -> None:
        for name, rule in egress_rules():
            assert rule.get("to"), name
            blocks = [to["ipBlock"]["cidr"] for to in rule["to"] if "ipBlock" in to]
            assert all(block.endswith("/32") for block in blocks), "single addresses"
            assert not blocks or name == "head-egress"

    def test_dashboard_and_gcs_are_reached_from_the_namespace_and_the_operator_alone(self) -> None:
        policy = next(item for _, item in PLAIN if item["metadata"]["name"] == "ray-ingress")["spec"]
        assert policy["podSelector"]["matchLabels"] == {"ray.io/cluster": "bench"}
        outside = [
            (source["namespaceSelector"]["matchLabels"], [port["port"] for port in rule["ports"]])
            for rule in policy["ingress"]
            for source in rule["from"]
            if "namespaceSelector" in source
        ]
        assert outside == [({"kubernetes.io/metadata.name": "kuberay-system"}, [8265])]

    def test_services_are_not_published(self) -> None:
        types = {item["spec"].get("type", "ClusterIP") for _, item in PLAIN if item["kind"] == "Service"}
        assert types | {CLUSTER["headGroupSpec"]["serviceType"]} == {"ClusterIP"}


def egress_rules() -> list[tuple[str, dict[str, Any]]]:
    """Of every policy its name and each rule of what may be called."""
    policies = [item for _, item in PLAIN if item["kind"] == "NetworkPolicy"]
    return [(item["metadata"]["name"], rule) for item in policies for rule in item["spec"].get("egress", [])]


def check_container(security: dict[str, Any]) -> None:
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not security.get("privileged", False)
