"""What events count beside tokens, or as parts of them, as CSV: a line for each quarter hour, key
and meter that has any.

Sorted by window_start, then by every column that says who and what, then by meter.
"""

from ledger.exports.csv_text import named, table
from ledger.exports.usage import WHO

COLUMNS = named("window_start", *WHO, "context_band", "meter", "quantity")
FORMAT = table("extras", "extras", lambda _: COLUMNS)
