"""Conversions are exact or refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.wire import units
from ledger.wire.errors import UnitError


def test_the_units_agree_with_each_other() -> None:
    assert units.MJ_PER_KWH == 1_000 * units.MJ_PER_WH == units.MJ_PER_J * 1_000 * 3_600


@given(st.integers(min_value=0, max_value=2**62))
def test_millijoules_survive_joules(energy_mj: int) -> None:
    assert units.mj_from_joules(units.joules_from_mj(energy_mj)) == energy_mj


def test_a_kilowatt_hour_is_exact_and_a_split_millijoule_refused() -> None:
    assert units.mj_from_kwh(Decimal("0.001")) == 3_600_000
    assert units.mw_from_watts(Decimal("46.19")) == 46_190
    for refused in (
        Decimal("0.0005"),
        Decimal("NaN"),
        Decimal("1E-30"),
        Decimal("Infinity"),
        Decimal("1E+99"),
    ):
        with pytest.raises(UnitError, match="whole number"):
            units.mj_from_joules(refused)
