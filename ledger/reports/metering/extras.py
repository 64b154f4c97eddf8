"""What few events count beside their leaves: of each meter, by dimensions and a step in time."""

from ledger.reports.grouped import KEYS, GroupedReport, GroupedTable, Said, Sums, find_known
from ledger.wire.report_answers import ExtrasReport

COUNTED = ("quantity",)


def _say(sums: Sums) -> Said:
    return {name: sums[name] for name in COUNTED}


EXTRAS_REPORT = GroupedReport(
    "extras",
    "What usage of a period counts beside tokens, or as parts of them, by dimensions and meter:"
    " audio, images, searches, tool calls.\n\nThe tokens of a part are in `usage` as well.",
    ExtrasReport,
    "customer",
    "sum_extras",
    KEYS,
    COUNTED,
    COUNTED,
    _say,
    GroupedTable(
        "Extras", ("meter", "quantity"), ("meter", "quantity"), ("quantity", "meter"), "–"
    ),
    find_known,
    ("meter",),
)
