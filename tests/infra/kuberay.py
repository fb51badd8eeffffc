"""KubeRay's own fields that these manifests use, as JSON Schemas: what v1.6 takes in each, and nothing that it lacks.

Source: ray-operator/apis/ray/v1/raycluster_types.go and rayjob_types.go of ray-project/kuberay, whose json tags these
names are; compared on 2026-11-30. Its resource definitions are in no package. Pods in them are Kubernetes's, and are
checked by its schemas.
"""

from typing import Any


def fields(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


TEXT, BOOLEAN, ANY = {"type": "string"}, {"type": "boolean"}, {"type": "object"}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
LIST = {"type": "array", "items": ANY}
GROUP = {"rayStartParams": TEXTS, "template": ANY, "resources": TEXTS, "labels": TEXTS}

AUTOSCALER = fields(
    version={"enum": ["v1", "v2"]},
    idleTimeoutSeconds=COUNT,
    upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    image=TEXT,
    resources=ANY,
    securityContext=ANY,
    volumeMounts=LIST,
    env=LIST,
    envFrom=LIST,
)
RAY_CLUSTER = fields(
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=BOOLEAN,
    autoscalerOptions=AUTOSCALER,
    headGroupSpec=fields(
        "template",
        serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        headService=ANY,
        enableIngress=BOOLEAN,
        **GROUP,
    ),
    workerGroupSpecs={
        "type": "array",
        "items": fields(
            "groupName maxReplicas minReplicas template",
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            numOfHosts=COUNT,
            idleTimeoutSeconds=COUNT,
            suspend=BOOLEAN,
            **GROUP,
        ),
    },
    suspend=BOOLEAN,
)
RAY_JOB = fields(
    clusterSelector=TEXTS,
    entrypoint=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    shutdownAfterJobFinishes=BOOLEAN,
    ttlSecondsAfterFinished=COUNT,
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    submitterConfig=fields(backoffLimit=COUNT),
    submitterPodTemplate=ANY,
    runtimeEnvYAML=TEXT,
    metadata=TEXTS,
    suspend=BOOLEAN,
)
SCHEMAS = {"RayCluster": RAY_CLUSTER, "RayJob": RAY_JOB}
