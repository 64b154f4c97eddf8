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
    "a day of cost is gone": (
        "DELETE FROM cost_day_line WHERE line = 'idle'",
        ("cost_day", "factory deployment:chat idle", "gpu_cost", "*", "0"),
    ),
    "a day of cost was changed": (
        "UPDATE cost_day_line SET device_metered_mj = device_metered_mj + 1 WHERE line = 'idle'",
        ("cost_day", "factory deployment:chat idle", "device_metered_mj", "*", "*"),
    ),
    "a day of cost is counted twice": (
        "INSERT INTO cost_day_line SELECT * FROM cost_day_line WHERE line = 'usage'",
        ("cost_day", "*", "gpu_cost", "*", "*"),
    ),
    "a day of cost is longer": (
        "UPDATE cost_day SET day_end = day_end + interval '1 hour'",
        ("cost_day", "factory", "day_end", "*", "*"),
    ),
    "a day that nobody began": (
        "DELETE FROM cost_day",
        ("cost_day", "factory deployment:chat idle", "gpu_cost", "0", "*"),
    ),
    "a GPU has more parts than it is": (
        """INSERT INTO deployment_member (deployment_row_id, deployment_id, member, kind, parts,
                                          valid, recorded)
           SELECT deployment_row_id, 'tts', member, kind, 1,
                  tstzrange(lower(valid) - interval '1 hour', upper(valid)), recorded
             FROM deployment_member WHERE kind = 'gpu'""",
        ("gpu_part", "GPU GPU-a", "parts", "7000000 at most", "7000001"),
    ),
}
