"""What people enter of what sites cost and emit, beside PUE and tariffs."""

from collections.abc import Sequence

from ledger.flows.reference import ending, enter_bill, enter_grid, enter_site_cost
from ledger.flows.reference.resource import Ending, Resource
from ledger.store.cost import site_costs
from ledger.wire import answers, bill_inputs, grid_inputs, site_answers, site_inputs

SITES: Sequence[Resource] = (
    Resource(
        "site cost",
        "site-costs",
        "what sites cost beside energy and hardware",
        "facility_id",
        answers.SiteCost,
        ("name", "kind", "params", "currency", "valid_from", "valid_to"),
        site_inputs.NewSiteCost,
        enter_site_cost.enter_site_cost,
        dated=True,
        ending=Ending(site_costs.SITE_COSTS, ("name",), after=ending.check_site_cost),
    ),
    Resource(
        "utility bill",
        "utility-bills",
        "what utilities asked for",
        "bill_id",
        site_answers.UtilityBill,
        ("facility_id", "first_day", "last_day", "kwh", "amount", "currency", "final"),
        bill_inputs.NewUtilityBill,
        enter_bill.enter_utility_bill,
        dated=True,
    ),
    Resource(
        "grid factor",
        "grid-factors",
        "what a kWh of sites emits and drinks",
        "facility_id",
        answers.GridFactor,
        ("kind", "start", "end", "per_kwh", "source"),
        grid_inputs.NewGridFactors,
        enter_grid.enter_grid_factors,
        word="grid",
        dated=True,
        counted=True,
    ),
)
