"""`ray up infra/ray/aws.yaml`: what Ray makes of it on AWS opens nothing and gives the head no more than it needs.

Ray's own functions are called; they ask AWS only for what a file leaves open.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.aws import config as aws
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME
from ruamel.yaml import YAML

RAY = Path(__file__).parents[2] / "infra/ray"
README = (RAY.parent / "README.md").read_text(encoding="utf-8")
POLICY = json.loads((RAY / "head-policy.json").read_text(encoding="utf-8"))["Statement"]


@pytest.fixture
def config(monkeypatch) -> dict[str, Any]:
    """The file as Ray prepares it, where nothing of AWS can be asked or made."""

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("Ray asked AWS")

    monkeypatch.setattr(aws, "_client", refuse)
    monkeypatch.setattr(aws, "_resource", refuse)
    monkeypatch.setattr(aws, "_get_instance_profile", refuse)
    prepared = prepare_config(YAML(typ="safe").load((RAY / "aws.yaml").read_text(encoding="utf-8")))
    validate_config(prepared)
    return prepared | {"head_node": {}}


def test_ray_makes_no_security_group(config):
    assert aws._configure_security_group(copy.deepcopy(config)) == config


def test_a_group_of_rays_making_admits_ssh_from_everywhere(config):
    """Why each kind of node has its own group: what a file asks for comes beside Ray's rules, not in their place."""
    rules = aws._create_default_inbound_rules(["sg-1"], [{"FromPort": 22, "IpRanges": [{"CidrIp": "203.0.113.0/24"}]}])
    assert "0.0.0.0/0" in str(rules)
    del config["available_node_types"]["gpu-spot"]["node_config"]["SecurityGroupIds"]
    config["available_node_types"]["gpu-spot"]["node_config"]["SubnetIds"] = ["subnet-1"]
    with pytest.raises(AssertionError, match="Ray asked AWS"):
        aws._configure_security_group(config)


def test_ray_gives_the_head_no_rights_of_its_own_choice(config):
    assert aws._configure_iam_role(copy.deepcopy(config)) == config
    profiles = {
        name: one["node_config"].get("IamInstanceProfile") for name, one in config["available_node_types"].items()
    }
    assert profiles == {"head": {"Name": "bench-head"}, "gpu": None, "gpu-spot": None}
    assert "AmazonEC2FullAccess" in (Path(aws.__file__).read_text(encoding="utf-8"))


def test_the_heads_rights_are_a_list_and_change_this_cluster_alone(config):
    actions = {
        action for one in POLICY for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    assert not [action for action in actions if "*" in action]
    assert {action.split(":")[0] for action in actions} == {"ec2"}
    tag = f"/{TAG_RAY_CLUSTER_NAME}"
    for one in POLICY:
        changes = not all(action.startswith("ec2:Describe") for action in _listed(one["Action"]))
        if changes and "instance/*" in str(one["Resource"]):
            named = {key: value for test in one["Condition"].values() for key, value in test.items()}
            assert config["cluster_name"] in [value for key, value in named.items() if key.endswith(tag)]


def test_the_guide_makes_the_group_and_the_profile_that_the_file_names():
    assert "--group-name bench-ray" in README
    assert "create-instance-profile --instance-profile-name bench-head" in README
    cidrs = [line.split("--cidr ")[1] for line in README.splitlines() if "--cidr" in line]
    assert cidrs == ["203.0.113.0/24"]


def _listed(action: str | list[str]) -> list[str]:
    return [action] if isinstance(action, str) else action
