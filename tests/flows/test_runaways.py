"""What uses far more than is usual is stopped where it asks, and reported if it asks or not."""

from ledger.domain.errors import OverBudgetError
from ledger.store.queries import Connection
from tests.flows.test_reserve import ask, books, budget, held, one
from tests.support.usage import Gate, attempt, keyed

__all__ = ["books"]


async def test_a_runaway_run_is_stopped_by_what_runs_were_before(books: Connection) -> None:
    await budget(books, agent_id="helper", period="run", amount="100000", times_own_mean="3")
    gate = Gate(books)
    for number in range(5):
        agent = {"id": "helper", "run_id": f"run-{number}"}
        await gate.send(keyed(attempt(f"e{number}", tokens=10 + number, agent=agent)))
    run = {"agent_id": "helper", "agent_run_id": "run-new"}
    await held(books, ask("r1", 108, **run))
    stopped = await one(books, ask("r2", 1, **run))
    assert isinstance(stopped, OverBudgetError)
    assert "by its own history" in str(stopped)
    kinds = await books.fetch("SELECT kind, run_id FROM budget_alert")
    assert [tuple(row) for row in kinds] == [("runaway", "run-new")]


async def test_a_runaway_that_reserves_nothing_is_reported(books: Connection) -> None:
    await budget(books, agent_id="helper", period="run", amount="100000", times_own_mean="3")
    gate = Gate(books)
    used = [10] * 5 + [30, 31, 60]
    for number, tokens in enumerate(used):
        agent = {"id": "helper", "run_id": f"run-{number}"}
        await gate.send(keyed(attempt(f"e{number}", tokens=tokens, agent=agent)))
    alerts = await books.fetch("SELECT kind, run_id, used, ceiling FROM budget_alert ORDER BY 2")
    told = [(row["kind"], row["run_id"], row["used"]) for row in alerts]
    assert told == [("runaway", "run-7", 180)]
    assert 90 < alerts[0]["ceiling"] < 180
