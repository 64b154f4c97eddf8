"""Settings of the ledger's own processes: `TOKENLEDGER_*` variables, or one TOML file."""

import errno
import os
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ledger.wire.secrets import keep_secret


class Settings(BaseSettings):
    """Environment first, then the TOML file named by TOKENLEDGER_CONFIG, then these defaults."""

    model_config = SettingsConfigDict(
        env_prefix="TOKENLEDGER_", extra="forbid", hide_input_in_errors=True
    )

    owner_url: str | None = Field(
        None, repr=False, description="PostgreSQL URL of the owner role (migrations only)"
    )
    worker_url: str | None = Field(
        None, repr=False, description="PostgreSQL URL of the worker role"
    )
    api_url: str | None = Field(None, repr=False, description="PostgreSQL URL of the api role")
    data_dir: Path = Field(
        Path.home() / ".local" / "share" / "tokenledger",
        description="where the embedded database of `up` and `demo` lives",
    )
    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8787, ge=0, le=65_535, description="port the API listens on")
    connections_max: int = Field(1_024, ge=1, description="connections the API holds at once")
    connections_of_address_max: int = Field(
        256,
        ge=1,
        description="connections of one address; behind a proxy all come from one",
    )
    kafka_bootstrap: str | None = Field(None, description="Kafka brokers, host:port[,host:port]")
    kafka_topic: str = Field("tokenledger.events.v1", description="topic the worker reads")
    kafka_group: str = Field("tokenledger-worker", description="consumer group of the workers")
    kafka_session_timeout_ms: int = Field(
        45_000, ge=1_000, description="how long a silent worker keeps its partitions"
    )
    worker_processes: int | None = Field(
        None,
        ge=1,
        le=64,
        description="processes among which a worker shares its partitions; without one as many as "
        "processors, at most 4",
    )
    kafka_security_protocol: str = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
    )
    kafka_sasl_mechanism: str | None = Field(
        None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"
    )
    kafka_username: str | None = Field(None, description="SASL user")
    kafka_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ca_file: Path | None = Field(None, description="CA certificates for TLS")
    metrics_port: int | None = Field(
        None, ge=1, le=65_535, description="where a process serves Prometheus text without a key"
    )
    metrics_host: str = Field("127.0.0.1", description="address it is served on")
    frozen_seconds: int = Field(
        120,
        ge=1,
        description="how long a session may hold a batch and do nothing, in seconds",
    )
    end_user_secret: SecretStr | None = Field(
        None,
        description="key of the hash under which end users are stored; without it they are not",
    )
    settle_seconds: int = Field(
        15, description="pause between background allocation and rating runs"
    )
    key_requests_a_minute: int = Field(
        600_000, ge=1, description="requests a minute that one key may make of a process of the API"
    )
    key_mib_a_minute: int = Field(
        16_384, ge=1, description="MiB of bodies a minute that one key may send to a process"
    )
    body_limit_mib: int = Field(16, description="largest request body the API reads, in MiB")
    quarantine_days: int = Field(30, description="how long raw bytes of unreadable input are kept")
    columns_from: int = Field(
        4_096, ge=1, description="from how many facts on those of a batch are stored as columns"
    )
    webhooks_inside: bool = Field(
        False,
        description="let webhooks lead into the house, and without TLS: for trying them out",
    )
    earliest_event: AwareDatetime = Field(
        datetime(2015, 1, 1, tzinfo=UTC),
        description="first moment of an event's times; what lies before goes to quarantine",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("owner_url", "worker_url", "api_url")
    @classmethod
    def _check_address(cls, url: str | None) -> str | None:
        try:
            urlsplit(url or "").port  # noqa: B018  # what is no number is refused as it is read
        except ValueError:
            raise ValueError("no address; write postgresql://host:port/name") from None
        return url

    @model_validator(mode="after")
    def _keep_secrets(self) -> Self:
        self.keep_secrets()
        return self

    def keep_secrets(self) -> None:
        """Let nothing that this process says hold one; another has to be told anew."""
        hidden = (self.kafka_password, self.end_user_secret)
        keep_secret(self.owner_url, self.worker_url, self.api_url)
        keep_secret(*(each.get_secret_value() for each in hidden if each is not None))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = os.environ.get("TOKENLEDGER_CONFIG")
        if named and not Path(named).is_file():
            raise FileNotFoundError(errno.ENOENT, "TOKENLEDGER_CONFIG names no file", named)
        try:
            toml = (TomlConfigSettingsSource(settings_cls, Path(named)),) if named else ()
        except (UnicodeDecodeError, RecursionError) as error:
            raise tomllib.TOMLDecodeError(str(error)) from error
        return (init_settings, env_settings, *toml)
