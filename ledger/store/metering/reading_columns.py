"""The columns of gpu_reading and counter_reading, each as a frame and a file hold it."""

import polars as pl

TIME = pl.Datetime("us", "UTC")
_STORED = {"stored_day": pl.Date(), "batch_seq": pl.Int64(), "ordinal": pl.Int32()}
# Labels are JSON, and values numbers of any length, as text.
SCHEMAS = {
    "gpu_reading": pl.Schema(
        {
            **_STORED,
            "source_id": pl.Int32(),
            **dict.fromkeys(("gpu_uuid", "epoch"), pl.String()),
            "sampled_at": TIME,
            **dict.fromkeys(("energy_mj", "power_mw"), pl.Int64()),
            **dict.fromkeys(("method", "quality", "boot_id", "driver_load"), pl.String()),
            "monotonic_us": pl.Int64(),
            "scope": pl.String(),
        }
    ),
    "counter_reading": pl.Schema(
        {
            **_STORED,
            "source_id": pl.Int32(),
            **dict.fromkeys(("engine", "engine_instance", "run_id"), pl.String()),
            **dict.fromkeys(("run_started_at", "scraped_at"), TIME),
            **dict.fromkeys(("metric", "labels", "value"), pl.String()),
            "precision_loss": pl.Boolean(),
        }
    ),
}
MOMENTS = {"gpu_reading": "sampled_at", "counter_reading": "scraped_at"}
