"""A report whose cost lines go while it is read is read once more, and no oftener."""

import pytest

from ledger.reports.cost.margin_text import MARGIN
from ledger.reports.report import Asked, PeriodReport, ReportScope
from ledger.store.queries import Connection
from ledger.store.refusals import LinesLetGo
from tests.support.one_gpu import START, at

REFUSED = "SELECT refuse_without_lines('factory', 'deployment:chat', $1)"


@pytest.mark.parametrize(("refused", "reads"), [(1, 2), (2, 2)])
async def test_lines_that_go_meanwhile_are_asked_for_again(
    worker: Connection, refused: int, reads: int
) -> None:
    asked: list[ReportScope] = []

    async def read(connection: Connection, scope: ReportScope, _: Asked) -> str:
        asked.append(scope)
        if len(asked) <= refused:
            await connection.fetchval(REFUSED, START)
        return "read"

    report = PeriodReport("", "", "", MARGIN.answer, read, lambda _: {}, lambda *_: iter(()))
    told = report.at_once(
        worker, entity_id="factory", period=(START, at(3600)), asked=Asked({}), purpose="test"
    )
    if refused < reads:
        assert await told == "read"
    else:
        with pytest.raises(LinesLetGo, match="made again"):
            await told
    assert asked[1:] == asked[:1] * (reads - 1)
