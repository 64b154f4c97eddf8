"""What to collect and where to send it: `TOKENLEDGER_COLLECT_*` variables, or one TOML file.

In the file the settings stand in the table `[collect]`; a variable wins over the file.
"""

import socket
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic import model_validator as check
from pydantic_settings import BaseSettings, SettingsConfigDict

from collectors.errors import CollectSettingsError
from collectors.refused import KEPT_BYTES
from ledger.wire.batch import MAX_BATCH_BYTES, TOPIC
from ledger.wire.secrets import keep_secret

ENV_PREFIX = "TOKENLEDGER_COLLECT_"


class ScrapeTarget(BaseModel):
    """One inference server to scrape; `instance` is the join key of its usage events."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    engine: str
    url: str
    instance: str = Field(min_length=1, max_length=120)


class KafkaSettings(BaseModel):
    """A broker to publish to."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    bootstrap: list[str] = Field(min_length=1)
    topic: str = TOPIC
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None


class HttpSettings(BaseModel):
    """A ledger's HTTP ingest to publish to."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str
    api_key: SecretStr

    @check(mode="after")
    def _key_fits_a_header(self) -> Self:
        key = self.api_key.get_secret_value()
        if not (key.isascii() and key.isprintable() and key.strip() == key != ""):
            raise ValueError("http.api_key has characters that no key has; copy it again")
        return self


class CollectSettings(BaseSettings):
    """Everything the collector is told."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    source: str = Field(default_factory=lambda: f"/hosts/{socket.gethostname()}")
    producer: str = Field(default_factory=socket.gethostname)
    spool_dir: Path = Path("/var/lib/tokenledger/spool")
    spool_bytes: int = Field(default=1024**3, ge=1024**2)
    refused_bytes: int = Field(default=KEPT_BYTES, ge=0)
    batch_bytes: int = Field(default=MAX_BATCH_BYTES, ge=4096, le=MAX_BATCH_BYTES)
    encoding: Literal["columnar.v1", "ndjson.v1"] = "columnar.v1"
    interval_s: Decimal = Field(default=Decimal(1), ge=Decimal("0.05"), le=3600)
    scrape_timeout_s: Decimal = Field(default=Decimal(5), gt=0, le=60)
    targets: list[ScrapeTarget] = Field(default_factory=list)
    nvml: Literal["on", "off", "auto"] = "auto"
    replay_file: Path | None = None
    replay_start: AwareDatetime | None = None
    replay_speed: Decimal = Field(default=Decimal(1), ge=0)
    exit_when_done: bool = False
    drain_s: Decimal = Field(default=Decimal(10), ge=0, le=600)
    kafka: KafkaSettings | None = None
    http: HttpSettings | None = None

    @check(mode="after")
    def _one_destination(self) -> Self:
        if self.kafka is not None and self.http is not None:
            raise ValueError("name one destination, kafka or http, not both")
        return self

    @check(mode="after")
    def _keep_secrets(self) -> Self:
        keep_secret(*(target.url for target in self.targets))
        if self.kafka is not None and self.kafka.sasl_password is not None:
            keep_secret(self.kafka.sasl_password.get_secret_value())
        if self.http is not None:
            keep_secret(self.http.api_key.get_secret_value(), self.http.url)
        return self


def load_settings(path: Path | None = None, **overrides: Any) -> CollectSettings:
    """Read the file if one is named, then the environment; `overrides` win over both."""
    try:
        table = _table(path) if path else {}
        from_env = CollectSettings().model_dump(exclude_unset=True)
        return CollectSettings(**(table | from_env | overrides))
    except (OSError, ValueError, ValidationError) as error:
        where = f" in {path}" if path else ""
        raise CollectSettingsError(f"collector settings{where}: {error}") from error


def _table(path: Path) -> dict[str, Any]:
    """The file's table; ValueError where it has none, because a misspelt one says nothing."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    if not isinstance(tables.get("collect"), dict):
        found = ", ".join(tables) or "nothing"
        raise ValueError(f"found {found}; write the settings into a table [collect]")
    return dict(tables["collect"])
