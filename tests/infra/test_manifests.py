"""Kubernetes and Ray files checked without a cluster: schemas, what must be locked down, where data lie.

Kubernetes objects are checked with Kubernetes's schemas (kubernetes-validate), cluster launcher files with Ray's own
checks. KubeRay's schema is in no package: the fields below are those of its API reference (v1.6).
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.infra.manifests import (
    CLUSTER,
    INFRA,
    JOB,
    OBJECTS,
    OF_NO_NAMESPACE,
    PLAIN,
    PODS,
    ROOT,
    SECRET_NAME,
    YAML_FILES,
    load,
)

BY_THEMSELVES = ("rayjob.yaml", "shared-files.yaml", "snapshot.yaml")
KUBERNETES = "1.32"
STORE = "/home/bench/.bench"

RAY_CLUSTER = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"}
RAY_CLUSTER |= {"workerGroupSpecs"}
AUTOSCALER = {"version", "idleTimeoutSeconds", "resources", "securityContext", "volumeMounts", "env"}
HEAD_GROUP = {"serviceType", "rayStartParams", "template"}
WORKER_GROUP = {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}
RAY_JOB = {"clusterSelector", "entrypoint", "submissionMode", "shutdownAfterJobFinishes", "submitterConfig"}
RAY_JOB |= {"submitterPodTemplate"}

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


class TestRay:
    def test_fields_are_known_to_kuberay(self) -> None:
        assert set(CLUSTER) == RAY_CLUSTER
        assert set(CLUSTER["autoscalerOptions"]) <= AUTOSCALER
        assert set(CLUSTER["headGroupSpec"]) == HEAD_GROUP
        for group in CLUSTER["workerGroupSpecs"]:
            assert set(group) == WORKER_GROUP
        assert set(JOB["spec"]) == RAY_JOB

    def test_start_parameters_are_strings(self) -> None:
        for group in [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]:
            assert all(isinstance(value, str) for value in group["rayStartParams"].values())

    def test_token_authentication_is_on(self) -> None:
        assert CLUSTER["authOptions"] == {"mode": "token"}

    def test_workers_scale_from_zero(self) -> None:
        assert CLUSTER["enableInTreeAutoscaling"] is True
        for group in CLUSTER["workerGroupSpecs"]:
            assert group["minReplicas"] == 0 < group["maxReplicas"]

    def test_no_pack_runs_on_the_head(self) -> None:
        parameters = CLUSTER["headGroupSpec"]["rayStartParams"]
        assert (parameters["num-cpus"], parameters["num-gpus"]) == ("0", "0")

    def test_spot_workers_are_a_group_of_their_own(self) -> None:
        spot = next(group for group in CLUSTER["workerGroupSpecs"] if group["groupName"] == "gpu-spot")
        pod = spot["template"]["spec"]
        assert pod["nodeSelector"] == {"eks.amazonaws.com/capacityType": "SPOT"}
        assert "spot" in {toleration["key"] for toleration in pod["tolerations"]}

    def test_pods_drain_within_their_grace_and_past_a_checkpoint(self) -> None:
        for group in CLUSTER["workerGroupSpecs"]:
            pod = group["template"]["spec"]
            variables = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
            drain_s = int(variables["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
            assert 60 < drain_s < pod["terminationGracePeriodSeconds"]

    def test_outbox_is_the_heads_and_checkpoints_are_everybodys(self) -> None:
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

    def test_job_runs_a_shipped_suite_on_this_cluster(self) -> None:
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
    def test_launcher_file_passes_rays_own_checks(self, name: str) -> None:
        from ray.autoscaler._private.util import prepare_config, validate_config

        validate_config(prepare_config(load(INFRA / "ray" / f"{name}.yaml")[0]))

    @pytest.mark.parametrize("name", ["aws", "machines"])
    def test_launcher_file_brings_the_token_and_hides_the_dashboard(self, name: str) -> None:
        config = load(INFRA / "ray" / f"{name}.yaml")[0]
        assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
        assert "RAY_AUTH_MODE=token" in (INFRA / "docker" / "Containerfile").read_text()
        head = config["head_start_ray_commands"][-1]
        assert "ray start --head" in head
        assert "--dashboard-host=127.0.0.1" in head
        assert f"--volume /var/lib/bench:{STORE}" in config["docker"]["run_options"]

    def test_aws_scales_from_zero_on_spot(self) -> None:
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
