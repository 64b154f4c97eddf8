"""Names of the event types and how much of each part is read: plain values, for those who send.

A GPU host reads this file and has no library that checks models.
"""

USAGE = "inference.usage.v1"
CORRECTION = "inference.usage.correction.v1"
RESERVATION = "inference.usage.reservation.v1"
ENERGY = "gpu.energy.v1"
COUNTERS = "engine.counters.v1"
METER_GAP = "meter.gap.v1"

LABELS_MAX = 16
VALUES_MAX = 10_000
TAG_KEY_CHARS_MAX = 64
TAG_VALUE_CHARS_MAX = 256
