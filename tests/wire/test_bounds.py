"""Whatever is entered has bounds, named where they are passed, so that every stage can work."""

import pytest

from ledger.flows.reference.resources import BY_WORD
from ledger.wire.errors import InputError
from ledger.wire.inputs import FxRate, read_input, read_texts
from ledger.wire.tariff_inputs import TariffPeriod
from tests.support.far_inputs import FAR_INPUTS, FAR_PERIODS, FarInput


@pytest.mark.parametrize("far", FAR_INPUTS, ids=str)
def test_what_is_out_of_bounds_is_refused_by_its_name(far: FarInput) -> None:
    # The body of rates is a list, of which this is one.
    model = FxRate if far.kind == "fx" else BY_WORD[far.kind].model
    assert model is not None
    with pytest.raises(InputError) as refused:
        read_input(model, dict(far.row))
    assert [problem.field for problem in refused.value.problems] == [far.field]
    assert len(str(refused.value)) < 300
    with pytest.raises(InputError, match=far.field):
        read_texts(model, {name: str(value) for name, value in far.row.items()})


@pytest.mark.parametrize("far", FAR_PERIODS, ids=str)
def test_a_price_of_power_out_of_bounds_is_refused_by_its_name(far: FarInput) -> None:
    with pytest.raises(InputError) as refused:
        read_input(TariffPeriod, dict(far.row))
    assert [problem.field for problem in refused.value.problems] == [far.field]


def test_a_resolution_does_not_lead_past_the_last_day() -> None:
    late = {"start": "2199-12-31T23:00:00Z", "resolution_minutes": 120, "price_per_mwh": "1"}
    with pytest.raises(InputError, match="2200-01-01"):
        read_input(TariffPeriod, late)
