"""Redfish: the power, or the energy counter, of a host from its management controller."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from collectors.errors import ScrapeError, SourceError
from collectors.fetch import Page
from collectors.source_settings import SourceSettings
from collectors.sources.host_clock import since_boot_us
from collectors.sources.metered import MeterReadings
from collectors.sources.pages import open_page
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import MJ_PER_KWH

PATH = "/redfish/v1/Chassis/1/EnvironmentMetrics"


@dataclass(slots=True)
class RedfishSource:
    """One chassis: EnvironmentMetrics (EnergykWh, PowerWatts), or Power (PowerControl)."""

    page: Page
    timeout_s: float
    readings: MeterReadings
    name: str = "redfish"
    finished: bool = False

    def sample(self, now: datetime) -> SourceSample:
        """Ask once."""
        try:
            answer = json.loads(self.page.fetch(self.timeout_s), parse_float=Decimal)
        except (ScrapeError, ValueError) as error:
            raise SourceError(
                f"redfish: {error}", reason=reasons.SOURCE_SILENT, gpu_uuid=self.readings.meter
            ) from error
        power_w, energy_kwh = read_redfish(answer)
        power_mw = None if power_w is None else int(power_w * 1_000)
        if energy_kwh is not None:
            energy_mj = int(energy_kwh * MJ_PER_KWH)
            read = self.readings.counter(energy_mj, now, method="meter", power_mw=power_mw)
            return SourceSample((read,))
        if power_mw is None:
            why = f"redfish: {self.page} says neither power nor energy"
            raise SourceError(why, reason=reasons.NOT_SUPPORTED, gpu_uuid=self.readings.meter)
        return SourceSample((self.readings.power(power_mw, now, since_boot_us()),))

    def close(self) -> None:
        """Let the connection go."""
        self.page.close()


def open_redfish(settings: SourceSettings) -> RedfishSource:
    """The resource at `url`, asked as `user` with the password in `secret_file`."""
    return RedfishSource(
        open_page(settings, PATH), float(settings.timeout_s), MeterReadings.of(settings)
    )


def read_redfish(answer: object) -> tuple[Decimal | None, Decimal | None]:
    """(watts, kilowatt-hours) as far as a resource says them."""
    if not isinstance(answer, dict):
        return None, None
    control = answer.get("PowerControl")
    first = control[0] if isinstance(control, list) and control else {}
    power = _number(first.get("PowerConsumedWatts")) if isinstance(first, dict) else None
    return power or _reading(answer.get("PowerWatts")), _reading(answer.get("EnergykWh"))


def _reading(part: object) -> Decimal | None:
    return _number(part.get("Reading")) if isinstance(part, dict) else None


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None
