"""What to collect and where to send it: `TOKENLEDGER_COLLECT_*` variables, or one TOML file.

In the file the settings stand in the table `[collect]`; a variable wins over the file.
"""

import os
import socket
import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from collectors.errors import CollectSettingsError
from collectors.refused import KEPT_BYTES
from collectors.source_settings import SourceSettings
from collectors.tables import Table, closest, merged, nested, read_table
from ledger.wire.batch import MAX_BATCH_BYTES, TOPIC
from ledger.wire.secrets import keep_secret

ENV_PREFIX = "TOKENLEDGER_COLLECT_"
TABLE = "collect"


def _host_source() -> str:
    return f"/hosts/{socket.gethostname()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """One inference server to scrape; `instance` is the join key of its usage events.

    `bearer_file` holds the token to show, read at every scrape; `ssl_cafile` is trusted instead of
    the host's list, and `ssl_certfile` with `ssl_keyfile` are shown to who asks.
    """

    engine: str
    url: str
    instance: str = field(metadata={"low": 1, "high": 120})
    bearer_file: Path | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    def __post_init__(self) -> None:
        keep_secret(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """A broker to publish to."""

    bootstrap: list[str] = field(metadata={"least": 1})
    topic: str = TOPIC
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    def __post_init__(self) -> None:
        keep_secret(self.sasl_password)
        given = (self.sasl_mechanism, self.sasl_username, self.sasl_password)
        if self.security_protocol.startswith("SASL") and None in given:
            raise ValueError(
                f"kafka.security_protocol {self.security_protocol} needs kafka.sasl_mechanism, "
                "kafka.sasl_username and kafka.sasl_password"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """A ledger's HTTP ingest to publish to; `ssl_cafile` is trusted instead of the host's list."""

    url: str
    api_key: str = field(repr=False)
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None

    def __post_init__(self) -> None:
        keep_secret(self.api_key, self.url)
        key = self.api_key
        if not (key.isascii() and key.isprintable() and key.strip() == key != ""):
            raise ValueError("http.api_key has characters that no key has; copy it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """Everything the collector is told."""

    source: str = field(default_factory=_host_source)
    producer: str = field(default_factory=socket.gethostname)
    spool_dir: Path = Path("/var/lib/tokenledger/spool")
    spool_bytes: int = field(default=1024**3, metadata={"low": 1024**2})
    refused_bytes: int = field(default=KEPT_BYTES, metadata={"low": 0})
    batch_bytes: int = field(
        default=MAX_BATCH_BYTES, metadata={"low": 4096, "high": MAX_BATCH_BYTES}
    )
    batch_s: Decimal = field(default=Decimal(20), metadata={"low": 0, "high": 600})
    encoding: Literal["columnar.v1", "ndjson.v1"] = "ndjson.v1"
    interval_s: Decimal = field(default=Decimal(1), metadata={"low": Decimal("0.05"), "high": 3600})
    scrape_interval_s: Decimal = field(
        default=Decimal(1), metadata={"low": Decimal("0.05"), "high": 3600}
    )
    scrape_timeout_s: Decimal = field(
        default=Decimal(5), metadata={"low": Decimal("0.001"), "high": 60}
    )
    targets: list[ScrapeTarget] = field(default_factory=list)
    nvml: Literal["on", "off", "auto"] = "auto"
    sources: list[SourceSettings] = field(default_factory=list)
    record_file: Path | None = None
    replay_file: Path | None = None
    replay_start: datetime | None = None
    replay_speed: Decimal = field(default=Decimal(1), metadata={"low": 0})
    exit_when_done: bool = False
    drain_s: Decimal = field(default=Decimal(10), metadata={"low": 0, "high": 600})
    metrics_port: int | None = field(default=None, metadata={"low": 0, "high": 65_535})
    metrics_host: str = "127.0.0.1"
    kafka: KafkaSettings | None = None
    http: HttpSettings | None = None

    def __post_init__(self) -> None:
        if self.kafka is not None and self.http is not None:
            raise ValueError("name one destination, kafka or http, not both")


def load_settings(path: Path | None = None, **overrides: object) -> CollectSettings:
    """Read the file if one is named, then the environment; `overrides` win over both."""
    try:
        file = _table(path) if path else {}
        return read_table(CollectSettings, merged(file, _environment(), overrides))
    except (OSError, ValueError) as error:
        where = f" in {path}" if path else ""
        raise CollectSettingsError(f"collector settings{where}: {error}") from None


def _environment() -> Table:
    given = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in os.environ.items()
        if name.startswith(ENV_PREFIX)
    }
    return nested(given, "__")


def _table(path: Path) -> Table:
    """The file's table; ValueError where it has none or one is misspelt: that one says nothing."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    known = {TABLE: None} | dict.fromkeys(CollectSettings.__dataclass_fields__)
    for name in tables:
        meant = closest(name, known) if name != TABLE else None
        if meant is not None:
            inner = TABLE if meant == TABLE else f"{TABLE}.{meant}"
            raise ValueError(f"found {name}; did you mean {inner}, in the table [{TABLE}]?")
    table = tables.get(TABLE)
    if not isinstance(table, dict):
        named = ", ".join(tables) or "nothing"
        raise ValueError(f"found {named}; write the settings into a table [{TABLE}]")
    return table
