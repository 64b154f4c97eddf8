"""Meters read by a tool of the host: `ipmitool` for IPMI DCMI, `snmpget` for SNMP."""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from collectors.errors import CollectSettingsError, SourceError
from collectors.source_settings import Quantity, SourceSettings
from collectors.sources.host_clock import since_boot_us
from collectors.sources.metered import MeterReadings
from collectors.sources.pages import read_secret
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import MJ_PER_J

# A controller whose readings are switched off says 0 watts all the same.
DCMI = re.compile(
    r"Instantaneous power reading:\s*(\d+)\s*Watts(?!.*state is:\s*deactivated)", re.DOTALL
)
# Not the beginning of "1,234" or of "12,5": it is another number.
NUMBER = re.compile(r'\A"?([0-9]+(?:\.[0-9]+)?)(?![\w.,])')


@dataclass(slots=True)
class CommandSource:
    """One meter, by what a command prints of it."""

    name: str
    command: Sequence[str]
    pattern: re.Pattern[str]
    readings: MeterReadings
    timeout_s: float
    quantity: Quantity = "power"
    scale: Decimal = Decimal(1)
    environment: Mapping[str, str] = field(default_factory=dict)
    finished: bool = False

    def sample(self, now: datetime) -> SourceSample:
        """Run it once."""
        try:
            done = subprocess.run(  # noqa: S603 - what the settings' owner names
                self.command,
                capture_output=True,
                text=True,
                timeout=self.timeout_s,
                check=True,
                env={**os.environ, **self.environment},
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise self._silent(f"{error}; is {self.command[0]} installed?") from error
        match = self.pattern.search(done.stdout)
        if match is None:
            raise self._silent(f"printed {done.stdout[:80]!r}, which is no number")
        value = Decimal(match[1]) * self.scale * MJ_PER_J
        if self.quantity == "energy":
            return SourceSample((self.readings.counter(int(value), now, method="meter"),))
        return SourceSample((self.readings.power(int(value), now, since_boot_us()),))

    def close(self) -> None:
        """Nothing is held."""

    def _silent(self, why: str) -> SourceError:
        return SourceError(
            f"{self.name}: {why}", reason=reasons.SOURCE_SILENT, gpu_uuid=self.readings.meter
        )


def open_ipmi(settings: SourceSettings) -> CommandSource:
    """This host's own controller: DCMI says watts."""
    return CommandSource(
        "ipmi",
        ("ipmitool", "dcmi", "power", "reading"),
        DCMI,
        MeterReadings.of(settings),
        float(settings.timeout_s),
    )


def open_snmp(settings: SourceSettings) -> CommandSource:
    """A PDU or meter at `url` (host or host:port), by its `oid`; the community is in `secret_file`.

    The tool reads it from a file of its own, so that no list of processes shows it.
    """
    if not settings.oid or not settings.url:
        raise CollectSettingsError("source snmp: name url (host:port) and oid")
    folder = Path(tempfile.mkdtemp(prefix="tokenledger-snmp-"))
    community = read_secret(settings)
    (folder / "snmp.conf").write_text(f"defVersion 2c\ndefCommunity {community}\n", "utf-8")
    return CommandSource(
        "snmp",
        ("snmpget", "-Oqv", settings.url, settings.oid),
        NUMBER,
        MeterReadings.of(settings),
        float(settings.timeout_s),
        settings.quantity,
        settings.unit_scale,
        {"SNMPCONFPATH": str(folder)},
    )
