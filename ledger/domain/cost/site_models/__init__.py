"""Rules of what a site costs: parameters are stored as JSON with the rule's name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ledger.domain.cost.site_models.of_others import Bill, Percentage
from ledger.domain.cost.site_models.span import SiteCostModel
from ledger.domain.cost.site_models.standing import Standing
from ledger.domain.cost.site_models.timed import Demand, EnergyTiers
from ledger.wire.inputs import read_input
from ledger.wire.site_inputs import BillTerms, DemandTerms, PercentTerms, StandingTerms, TierTerms

SITE_COST_MODELS: Mapping[str, Callable[[object], SiteCostModel]] = MappingProxyType(
    {
        "standing": lambda params: Standing(read_input(StandingTerms, params)),
        "demand": lambda params: Demand(read_input(DemandTerms, params)),
        "tiers": lambda params: EnergyTiers(read_input(TierTerms, params)),
        "percent": lambda params: Percentage(read_input(PercentTerms, params)),
        "bill": lambda params: Bill(read_input(BillTerms, params)),
    }
)


def load_site_cost(kind: str, params: object) -> SiteCostModel:
    """The rule of a kind; InputError names a wrong parameter."""
    return SITE_COST_MODELS[kind](params)
