"""Alerts and the dashboard name metrics and objects that exist; what is reached from outside is behind TLS."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bench.cluster.metrics import GAUGES
from tests.infra.manifests import CLUSTER, INFRA, OBJECTS, load

MONITORING, INGRESS = INFRA / "monitoring", INFRA / "ingress"
RULES = load(MONITORING / "alerts.yaml")[0]["spec"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
EXPRESSIONS = [rule["expr"] for rule in ALERTS.values()]
EXPRESSIONS += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
# Of the kubelets and of kube-state-metrics.
KUBERNETES = {f"kubelet_volume_stats_{name}_bytes" for name in ("available", "capacity", "used")}
KUBERNETES |= {"kube_pod_status_ready", "kube_pod_status_phase", "kube_deployment_status_replicas_available"}
KUBERNETES |= {"kube_cronjob_status_last_successful_time"}


def metrics() -> set[str]:
    return {name for text in EXPRESSIONS for name in re.findall(r"\b(?:ray|kube|kubelet)_\w+", text)}


def names(kind: str) -> set[str]:
    return {item["metadata"].get("name", "") for _, item in OBJECTS if item["kind"] == kind}


def test_every_metric_is_exported() -> None:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    exported = {f"ray_{name}" for name in (*GAUGES, *METRICS_GAUGES)} | KUBERNETES
    assert metrics() <= exported
    assert {f"ray_{name}" for name in GAUGES} <= metrics(), "each is looked at"


def test_every_object_that_is_watched_exists() -> None:
    for kind, label in (("Deployment", "deployment"), ("CronJob", "cronjob")):
        watched = {name for text in EXPRESSIONS for name in re.findall(rf'\b{label}="([^"]+)"', text)}
        assert watched
        assert watched <= names(kind)
    spaces = [one for text in EXPRESSIONS for one in re.findall(r'namespace=~?"([^"]+)"', text)]
    assert {name for one in spaces for name in one.split("|")} <= names("Namespace")


def test_alerts_say_what_is_wrong_for_how_long_and_how_bad() -> None:
    assert set(ALERTS) >= {"BenchResultsWait", "BenchStandsStill", "BenchDiskFills", "BenchBackupOld", "BenchHeadGone"}
    for rule in ALERTS.values():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["annotations"]["summary"]


def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian: apt-get install prometheus)")
    queries = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(EXPRESSIONS)]
    groups = [*RULES["groups"], {"name": "panels", "rules": queries}]
    with (tmp_path / "rules.yaml").open("w") as file:
        YAML(typ="safe").dump({"groups": groups}, file)
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_a_place_a_unit_and_a_source() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(places) == len(set(places)) >= 8
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"]["uid"] == "${source}"
        assert panel["fieldConfig"]["defaults"]["unit"]
    (source,) = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"]) == ("source", "datasource")


def test_ports_that_are_read_are_those_of_rays_pods() -> None:
    monitor, policy = load(MONITORING / "metrics.yaml")
    wanted = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    head = ports(CLUSTER["headGroupSpec"]["template"])
    assert wanted <= set(head)
    for group in CLUSTER["workerGroupSpecs"]:
        assert ports(group["template"]) == {"metrics": head["metrics"]}
    (rule,) = policy["spec"]["ingress"]
    assert {one["port"] for one in rule["ports"]} == {head[name] for name in wanted}


def ports(template: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}


@pytest.mark.parametrize("name", ["mlflow", "ray"])
def test_what_is_reached_from_outside_is_behind_tls_and_of_one_network(name: str) -> None:
    ingress, policy = load(INGRESS / f"{name}.yaml")
    (issuer,) = load(INGRESS / "issuer.yaml")
    spec, notes = ingress["spec"], ingress["metadata"]["annotations"]
    assert notes["cert-manager.io/cluster-issuer"] == issuer["metadata"]["name"]
    assert notes["nginx.ingress.kubernetes.io/ssl-redirect"] == "true"
    assert notes["nginx.ingress.kubernetes.io/whitelist-source-range"] not in ("", "0.0.0.0/0", "::/0")
    assert [rule["host"] for rule in spec["rules"]] == spec["tls"][0]["hosts"]
    service = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert service["name"] in names("Service") | {"bench-head-svc"}  # KubeRay's, of the cluster `bench`
    (rule,) = policy["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [service["port"]["number"]]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}


@pytest.mark.parametrize("folder", [MONITORING, INGRESS], ids=lambda folder: folder.name)
def test_kustomize_renders_the_folder(folder: Path) -> None:
    listed = YAML(typ="safe").load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
