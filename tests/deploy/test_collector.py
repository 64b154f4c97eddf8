"""What runs on a GPU host is hardened as it says, parses, and starts the command that is there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectors.settings import CollectSettings, load_settings
from tests.conftest import lacking
from tests.deploy.test_compose import is_pinned

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "collector"
UNIT = FOLDER / "tokenledger-collector.service"
DOCUMENTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "collector.yaml").read_text())
)
DAEMON = next(one for one in DOCUMENTS if one["kind"] == "DaemonSet")
POD: dict[str, Any] = DAEMON["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
# Of ten; what is left is the network and the devices, which it is there for.
EXPOSURE_MAX = 2.0


def unit_values(name: str) -> list[str]:
    """All that the unit says of a name, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyze(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """systemd's own word on the unit, its program replaced by one that this machine has."""
    if shutil.which("systemd-analyze") is None:
        lacking("NO SYSTEMD: the unit is not verified on this machine")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/tokenledger/bin/tokenledger", "/bin/true"))
    command = ["systemd-analyze", *arguments, str(copy)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify", "--man=no")
    wrong = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert wrong == []


def test_a_unit_with_a_misspelt_word_is_found(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("ProtectHome=", "ProtectHme=")
    (tmp_path / "other.service").write_text(text.replace("/opt/tokenledger/bin/", "/bin/"))
    if shutil.which("systemd-analyze") is None:
        lacking("NO SYSTEMD: the unit is not verified on this machine")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "other.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ProtectHme" in done.stderr


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    done = analyze(tmp_path, "security", "--offline=true", "--no-pager")
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    if found is None:
        lacking(f"THIS SYSTEMD WEIGHS NO FILES: {done.stderr[:200]}")
    assert float(found[1]) <= EXPOSURE_MAX, done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("DevicePolicy", "closed"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("RestartPreventExitStatus", "2"),
    ],
)
def test_the_unit_says(name: str, value: str) -> None:
    assert unit_values(name) == [value]


def test_the_unit_stops_later_than_the_collector_and_keeps_its_spool() -> None:
    assert int(unit_values("TimeoutStopSec")[0]) > CollectSettings().drain_s
    assert CollectSettings().spool_dir.is_relative_to(
        Path("/var/lib") / unit_values("StateDirectory")[0]
    )


def test_the_units_settings_are_ones_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_COLLECT_HTTP__API_KEY", "tlk_key")
    read = load_settings(FOLDER / "collector.toml")
    assert read.http is not None
    assert (read.http.api_key, read.metrics_port) == ("tlk_key", 9464)
    commented = (FOLDER / "collector.toml").read_text().replace("# [[", "[[")
    assert "[[collect.targets]]" in commented
    (command,) = unit_values("ExecStart")
    assert command.split()[1:] == ["collect", "--config", "/etc/tokenledger/collector.toml"]


def test_the_pod_needs_no_root_and_can_do_nothing_more() -> None:
    for container in (CONTAINER, *POD["initContainers"]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert container["resources"]["limits"]["memory"]
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert POD["automountServiceAccountToken"] is False


def test_the_pod_is_whole() -> None:
    labels = DAEMON["spec"]["template"]["metadata"]["labels"]
    assert DAEMON["spec"]["selector"]["matchLabels"].items() <= labels.items()
    volumes = {one["name"] for one in POD["volumes"]}
    for container in (CONTAINER, *POD["initContainers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    named = {(one["kind"], one["metadata"]["name"]) for one in DOCUMENTS}
    for volume in POD["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in named
    assert ("ServiceAccount", POD["serviceAccountName"]) in named
    spaces = {one["metadata"].get("namespace", "tokenledger") for one in DOCUMENTS}
    assert spaces == {"tokenledger"}
    assert is_pinned(CONTAINER["image"])


def test_the_pods_settings_are_ones_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings,) = (one["data"] for one in DOCUMENTS if one["kind"] == "ConfigMap")
    path = tmp_path / "collector.toml"
    path.write_text(settings["collector.toml"])
    for variable in CONTAINER["env"]:
        if variable["name"].startswith("TOKENLEDGER_"):
            monkeypatch.setenv(variable["name"], variable.get("value", "tlk_key"))
    read = load_settings(path)
    assert read.http is not None
    assert read.http.api_key == "tlk_key"
    assert (read.producer, read.source) == ("$(NODE_NAME)", "/hosts/$(NODE_NAME)")
    port = CONTAINER["ports"][0]
    assert (port["containerPort"], read.metrics_host) == (read.metrics_port, "0.0.0.0")
    assert POD["terminationGracePeriodSeconds"] > read.drain_s
    mounts = [Path(one["mountPath"]) for one in CONTAINER["volumeMounts"]]
    assert any(read.spool_dir.is_relative_to(mount) for mount in mounts)


def instructions() -> list[tuple[str, str]]:
    """The image's recipe, a line an instruction."""
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([A-Z]+)\s+(.+)", line) for line in lines]
    assert None not in found, lines
    return [(one[1], one[2]) for one in found if one is not None]


def test_the_image_is_the_base_install_and_runs_as_nobody() -> None:
    recipe = instructions()
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE"}
    assert {name for name, _ in recipe} <= known | {"ENTRYPOINT", "CMD"}
    bases = {rest.split()[0] for name, rest in recipe if name == "FROM"}
    assert len(bases) == 1
    assert is_pinned(bases.pop())
    assert [rest for name, rest in recipe if name == "USER"] == ["10001"]
    last_run = max(number for number, (name, _) in enumerate(recipe) if name == "RUN")
    assert recipe.index(("USER", "10001")) > last_run
    assert not any("[ledger" in rest for _, rest in recipe)
    assert json.loads(recipe[-2][1]) == ["tokenledger", "collect"]
    assert json.loads(recipe[-1][1]) == CONTAINER["args"]
