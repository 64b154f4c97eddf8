"""What cannot be as it was told, as reports answer it."""

from typing import Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Moment, Number


class ImplausibleWork(ClosedModel):
    """Hours in which a deployment took more or less than any token of its model's size is known to
    take: their energy on boards, output tokens, and between what it would have to lie."""

    deployment_id: str
    model: str
    reason: Literal["more_than_known", "less_than_known"]
    hours: int
    first_hour: Moment
    last_hour: Moment
    device_mj: int
    output: int
    low_mj: int
    high_mj: int


class Finding(ClosedModel):
    """What was noticed about a GPU's meter, or about what a deployment took, in how many quarter
    hours."""

    gpu_uuid: str | None
    deployment_id: str | None
    reason: str
    meaning: str
    windows: int
    first_window: Moment
    last_window: Moment


class BillOff(ClosedModel):
    """A final utility bill that differs from what its days were accrued at by over 5 %."""

    bill_id: str
    facility_id: str
    since: Moment
    until: Moment
    currency: Currency
    amount: Amount
    accrued: Amount
    amount_off_pct: Number | None
