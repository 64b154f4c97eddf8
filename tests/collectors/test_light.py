"""What a GPU host runs is light: what the ledger needs is neither installed nor loaded there."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = frozenset(
    {"aiosql", "alembic", "asyncpg", "click", "httpx", "litestar", "msgspec", "numpy", "polars"}
    | {"pydantic", "pydantic_core", "pydantic_settings", "rich", "sqlalchemy", "uvicorn"}
)
SHOW = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def loaded_by(code: str, show: str = SHOW) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["collectors.daemon", "collectors.probe"])
def test_the_daemon_loads_nothing_that_the_ledger_needs(module: str) -> None:
    assert loaded_by(f"import {module}") & (HEAVY | {"kafka"}) == set()


def test_tls_is_loaded_where_it_is_used() -> None:
    code = (
        "from collectors.to_http import HttpPublisher\n"
        "from collectors.settings import HttpSettings\n"
        "HttpPublisher(HttpSettings(url='{}://127.0.0.1:9', api_key='k'))"
    )
    assert not loaded_by(code.format("http")) & {"ssl", "http", "email"}
    assert "ssl" in loaded_by(code.format("https"))


def test_kafka_is_loaded_where_it_is_the_destination() -> None:
    code = (
        "from collectors.publish import open_publisher\n"
        "from collectors.settings import CollectSettings, HttpSettings, KafkaSettings\n"
    )
    http = "open_publisher(CollectSettings(http=HttpSettings(url='http://h', api_key='k')))"
    kafka = "open_publisher(CollectSettings(kafka=KafkaSettings(bootstrap=['b'])))"
    assert "kafka" not in loaded_by(code + http)
    assert "kafka" in loaded_by(code + kafka)
    whole = SHOW.replace(".partition('.')[0]", "")
    assert "kafka.admin" not in loaded_by(code + kafka, whole)
    assert "kafka.admin" in loaded_by(f"{code}{kafka}\nfrom kafka import KafkaConsumer", whole)


def test_the_base_installation_is_what_a_gpu_host_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {one.partition(">")[0].partition("[")[0] for one in project["dependencies"]}
    assert names == {"click", "kafka-python", "nvidia-ml-py"}
