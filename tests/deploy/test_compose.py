"""The production shape is what it says: pinned, healthy before use, no default password."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledger.cli import COMMANDS
from ledger.settings import Settings

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
ONE_SHOT = {"migrate", "topic"}
OURS = {"migrate", "api", "worker"}
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+\.?\d*[\w.-]*(@sha256:[0-9a-f]{64})?$")
REQUIRED = re.compile(r"^\$\{\w+:\?[^}]+\}$")
URL_PASSWORD = re.compile(r"://[^:/@]+:(?P<password>(\$\{[^}]*\}|[^@])*)@")


def is_pinned(image: str) -> bool:
    """Whether the image names one version, to the minor release at least."""
    return PINNED.match(image) is not None


def literal_passwords(environment: dict[str, str]) -> list[str]:
    """Variables that carry a password, alone or in a URL, which is not demanded from outside."""
    found = []
    for name, value in environment.items():
        in_url = URL_PASSWORD.search(value)
        secret = in_url["password"] if in_url else value if "PASSWORD" in name else None
        if secret is not None and not REQUIRED.match(secret):
            found.append(name)
    return found


def environment(service: str) -> dict[str, str]:
    """The variables of a service."""
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


@pytest.mark.parametrize("service", SERVICES)
def test_image_is_pinned(service: str) -> None:
    assert is_pinned(SERVICES[service]["image"])


@pytest.mark.parametrize("image", ["postgres", "postgres:latest", "postgres:18", "apache/kafka:4"])
def test_loose_image_is_found(image: str) -> None:
    assert not is_pinned(image)


@pytest.mark.parametrize("service", SERVICES)
def test_no_password_is_written_down(service: str) -> None:
    assert literal_passwords(environment(service)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PASSWORD", "postgres"),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD:-postgres}"),
        ("POSTGRES_PASSWORD", "${POSTGRES_PASSWORD}"),
        ("URL", "postgresql://owner:secret@db/x"),
        ("URL", "postgresql://owner:${P:-x}@db/x"),
    ],
)
def test_default_password_is_found(name: str, value: str) -> None:
    assert literal_passwords({name: value}) == [name]


@pytest.mark.parametrize("service", SERVICES.keys() - ONE_SHOT)
def test_lasting_service_has_a_health_check_and_restarts(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", SERVICES)
def test_service_waits_for_what_it_needs(service: str) -> None:
    for needed, how in SERVICES[service].get("depends_on", {}).items():
        one_shot = needed in ONE_SHOT
        expected = "service_completed_successfully" if one_shot else "service_healthy"
        assert how["condition"] == expected


def test_nothing_of_ours_starts_before_the_migrations() -> None:
    for service in OURS - {"migrate"}:
        assert "migrate" in SERVICES[service]["depends_on"]
    assert "postgres" in SERVICES["migrate"]["depends_on"]


def test_data_lies_in_named_volumes() -> None:
    for service in ("kafka", "postgres"):
        named = {mount.split(":")[0] for mount in SERVICES[service]["volumes"]}
        assert named & COMPOSE["volumes"].keys()


def test_mounted_folders_exist() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            if mount.startswith("./"):
                assert (ROOT / mount.split(":")[0]).is_dir()


def test_each_role_goes_only_where_it_belongs() -> None:
    assert "TOKENLEDGER_OWNER_URL" in environment("migrate")
    for service in OURS - {"migrate"}:
        assert "tokenledger_owner" not in str(environment(service))
    assert "TOKENLEDGER_API_URL" not in environment("worker")


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting(service: str) -> None:
    names = {f"TOKENLEDGER_{field.upper()}" for field in Settings.model_fields}
    assert environment(service).keys() <= names


@pytest.mark.parametrize("service", sorted(OURS))
def test_command_exists(service: str) -> None:
    (command,) = SERVICES[service]["command"]
    assert command in COMMANDS
    assert "status" in COMMANDS


def test_metrics_are_shown_to_the_network_of_the_services_only() -> None:
    for service in ("api", "worker"):
        assert environment(service)["TOKENLEDGER_METRICS_HOST"] == "0.0.0.0"
        port = int(environment(service)["TOKENLEDGER_METRICS_PORT"])
        assert not [one for one in SERVICES[service].get("ports", []) if one.endswith(f":{port}")]
    assert Settings.model_fields["metrics_host"].default == "127.0.0.1"


def test_worker_listens_where_kafka_answers() -> None:
    advertised = environment("kafka")["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == f"PLAINTEXT://{environment('worker')['TOKENLEDGER_KAFKA_BOOTSTRAP']}"
    topic = Settings.model_fields["kafka_topic"].default
    assert f"--topic={topic}" in SERVICES["topic"]["command"]


def test_image_is_built_from_one_pinned_base_and_does_not_run_as_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(set(bases)) == 1
    assert is_pinned(bases[0])
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["tokenledger"]
    assert DOCKERFILE.index("USER tokenledger") > DOCKERFILE.rindex("RUN ")
    assert 'ENTRYPOINT ["tokenledger"]' in DOCKERFILE


def test_image_gets_every_folder_that_is_installed() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for folder in ("ledger", "collectors", "migrations"):
        assert f"COPY {folder} {folder}" in DOCKERFILE
        assert f"!{folder}" in ignored


def test_scripts_are_shell_that_parses() -> None:
    for script in (ROOT / "deploy" / "postgres").iterdir():
        subprocess.run(["sh", "-n", str(script)], check=True)
