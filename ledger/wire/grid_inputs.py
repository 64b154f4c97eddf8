"""What a kWh of a site emits and drinks, in the same form as prices of electricity."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ledger.wire.errors import FieldError
from ledger.wire.fields import Name
from ledger.wire.input_fields import Identifier, Price
from ledger.wire.inputs import InputModel
from ledger.wire.rules import SizeRule
from ledger.wire.tariff_inputs import SeriesPeriod

GRID_KINDS = ("carbon_location", "carbon_market", "water")
# A thousand times the dirtiest grid: a factor of a MWh is a slip of the hand.
PER_KWH_MAX = 10**6


def _per_kwh(value: Decimal) -> Decimal:
    if value > PER_KWH_MAX:
        raise FieldError(f"send what one kWh takes, at most {PER_KWH_MAX}")
    return value


PerKwh = Annotated[Price, AfterValidator(_per_kwh)]


class GridPeriod(SeriesPeriod):
    """What one kWh takes in [start, end): g CO2e, or ml of water."""

    per_kwh: PerKwh


class NewGridFactors(InputModel):
    """Factors of a site and who says them: carbon by where its grid is (`carbon_location`) or by
    what was contracted (`carbon_market`) in g CO2e, or `water` in ml, of each kWh of facility
    energy; three years of quarter hours at most."""

    facility_id: Identifier
    kind: Literal["carbon_location", "carbon_market", "water"]
    source: Name
    factors: Annotated[
        tuple[GridPeriod, ...], SizeRule(), Field(min_length=1, max_length=4 * 24 * 366 * 3)
    ]
