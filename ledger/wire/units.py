"""How many of a smaller unit make a greater one."""

MJ_PER_J = 1_000
MJ_PER_KWH = 3_600_000_000
US_PER_S = 1_000_000

# NVML and DCGM leak "blank" readings as integers near 2**63; no meter reaches half of that.
BLANK_VALUE_MIN = 2**62
