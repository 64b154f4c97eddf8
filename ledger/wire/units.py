"""Exact conversions between physical units; a value that would need rounding is refused."""

from decimal import Context, Decimal, Inexact, InvalidOperation

from ledger.wire.errors import UnitError

MJ_PER_J = 1_000
MJ_PER_WH = 3_600_000
MJ_PER_KWH = 3_600_000_000
MW_PER_W = 1_000
MS_PER_S = 1_000
US_PER_MS = 1_000
US_PER_S = 1_000_000
SECONDS_PER_HOUR = 3_600
TOKENS_PER_MILLION = 1_000_000

# NVML and DCGM leak "blank" readings as integers near 2**63; no meter reaches half of that.
BLANK_VALUE_MIN = 2**62

_FINEST = Decimal("1E-15")
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])


def mj_from_joules(joules: Decimal) -> int:
    """Joules to whole millijoules; refuses a fraction of a millijoule."""
    return _whole(joules, MJ_PER_J, "J")


def mj_from_kwh(energy_kwh: Decimal) -> int:
    """Kilowatt-hours to whole millijoules; refuses a fraction of a millijoule."""
    return _whole(energy_kwh, MJ_PER_KWH, "kWh")


def mw_from_watts(power_w: Decimal) -> int:
    """Watts to whole milliwatts; refuses a fraction of a milliwatt."""
    return _whole(power_w, MW_PER_W, "W")


def joules_from_mj(energy_mj: int) -> Decimal:
    """Millijoules to joules, exact to three places."""
    return Decimal(energy_mj).scaleb(-3, context=_EXACT)


def _whole(amount: Decimal, factor: int, unit: str) -> int:
    if not amount.is_finite():
        raise UnitError(f"{amount} {unit} is not a whole number; send a finite one")
    try:
        # An exponent that would fill memory as an integer fails here as well.
        product = _EXACT.multiply(amount, Decimal(factor)).quantize(_FINEST, context=_EXACT)
        whole = _EXACT.to_integral_exact(product)
    except (Inexact, InvalidOperation) as error:
        message = f"{amount} {unit} is not a whole number of the smaller unit; send fewer digits"
        raise UnitError(message) from error
    return int(whole)
