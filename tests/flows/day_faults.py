"""Faults of tallies, and of days of pools and meters: check finds them all."""

DAYS = {
    "a tally lost a request": (
        "UPDATE key_day SET requests = requests - 1",
        ("key_day", "*", "requests", "*", "*"),
    ),
    "a tally is gone": (
        "DELETE FROM key_day",
        ("key_day", "*", "output", "*", "0"),
    ),
    "a day of pools is gone": (
        "DELETE FROM pool_day",
        ("pool_day", "factory gpu USD", "amount", "*", "0"),
    ),
    "a day of pools is counted twice": (
        "INSERT INTO pool_day SELECT * FROM pool_day WHERE kind = 'gpu'",
        ("pool_day", "factory gpu USD", "amount", "*", "*"),
    ),
    "a day of a meter was changed": (
        "UPDATE meter_day SET metered_mj = metered_mj + 1",
        ("meter_day", "*", "metered_mj", "*", "*"),
    ),
}
