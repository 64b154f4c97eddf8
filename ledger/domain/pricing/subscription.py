"""Turns a customer and a moment into the card and the billing period that apply."""

from dataclasses import dataclass
from datetime import date, datetime

from ledger.domain.period import FAR, Period, billing_period, local_day


@dataclass(frozen=True, slots=True)
class Subscription:
    """What prices a customer's usage in [valid_from, valid_to), billed monthly from the anchor day.

    `payer_id` is whose it is, where that is another; `agreed` is its own validity, where that is
    more: it is set aside while somebody else pays, or prices somebody else for a while.
    """

    subscription_id: str
    customer_id: str
    rate_card_id: str
    zone: str
    anchor_day: int
    valid_from: datetime
    valid_to: datetime | None
    payer_id: str | None = None
    agreed: Period | None = None

    @property
    def validity(self) -> Period:
        """Its validity as a period."""
        return Period(self.valid_from, self.valid_to or FAR)

    def begin_of(self, day: date) -> datetime:
        """The first moment of a day in its zone, or of its validity where that begins that day."""
        whole = local_day(day, self.zone)
        return self.valid_from if self.valid_from in whole else whole.start

    @property
    def whole_validity(self) -> Period:
        """Its validity, set aside for a while or not."""
        return self.agreed or self.validity

    def billing_period(self, moment: datetime) -> Period:
        """The billing period that holds `moment`, clipped to what was agreed."""
        return billing_period(
            moment, anchor_day=self.anchor_day, zone_name=self.zone, clip=self.whole_validity
        )
