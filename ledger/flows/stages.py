"""Every stage, in the order in which each follows from those before it.

What runs all of them, the command of each, `status` and metrics go by this table.
"""

from ledger.flows.billing.draw import draw
from ledger.flows.billing.dun import dun
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.books.carry import carry
from ledger.flows.cost.accrue import accrue
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.check_weights import check_weights
from ledger.flows.cost.thin import thin
from ledger.flows.metering.tally import tally
from ledger.flows.pricing.rate import rate
from ledger.flows.stage import Stage

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        allocate,
        rate,
        draw,
        book_cost,
        book_revenue,
        accrue,
        thin,
        carry,
        dun,
        tally,
        check_weights,
    )
}
