"""Bills of a utility, entered as people do."""

from ledger.domain.author import Author
from ledger.flows.reference.enter_bill import enter_utility_bill
from ledger.store.queries import Connection
from ledger.wire.bill_inputs import NewUtilityBill
from ledger.wire.inputs import read_input


async def enter_bill(connection: Connection, day: str, amount: str, **said: object) -> None:
    """A bill of the site for a day; `replace` has it take the place of others."""
    replace = said.pop("replace", False) is True
    raw = {
        **{"bill_id": "esb-1", "facility_id": "site", "first_day": day, "last_day": day},
        **{"kwh": "1", "amount": amount, "currency": "EUR", **said},
    }
    author = Author("tester", "a test", "request-1")
    new = read_input(NewUtilityBill, raw)
    await enter_utility_bill(connection, new, author, replace=replace)
