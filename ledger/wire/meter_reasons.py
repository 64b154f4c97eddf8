"""Why a meter gave no reading one can rely on, or one of another kind: codes, and what each means.

A collector sends them in `meter.gap.v1`; what it never heard of here is shown as it is called.
"""

from collections.abc import Mapping
from types import MappingProxyType

# What is told of a source that never named a meter is told of the source.
SOURCES = tuple(
    f"source:{kind}"
    for kind in ("nvml", "dcgm", "triton", "rapl", "redfish", "ipmi", "snmp", "modbus", "amd")
)

GPU_LOST = "gpu_lost"
GPU_RECOVERED = "gpu_recovered"
GPU_ADDED = "gpu_added"
GPU_REPLACED = "gpu_replaced"
COUNTER_RESET = "counter_reset"
DRIVER_RELOAD = "driver_reload"
REBOOT = "reboot"
LIBRARY_MISSING = "library_missing"
DRIVER_MISSING = "driver_missing"
NOT_SUPPORTED = "not_supported"
NO_PERMISSION = "no_permission"
BLANK_VALUE = "blank_value"
READ_FAILED = "read_failed"
SUSPENDED = "suspended"
COLLECTOR_DOWN = "collector_down"
CLOCK_STEP = "clock_step"
MIG_PARENT = "mig_parent"
MODULE_SCOPE = "module_scope"
UNIT_CHANGED = "unit_changed"
SOURCE_SILENT = "source_silent"
SENSOR_STUCK = "sensor_stuck"
UNIT_UNKNOWN = "unit_unknown"

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        GPU_LOST: "the driver lost the board, or wants it reset",
        GPU_RECOVERED: "the board answers again",
        GPU_ADDED: "a board that was not there when the collector started",
        GPU_REPLACED: "the board is gone and another one is in its place",
        COUNTER_RESET: "the counter began again; what it showed then is at most a lower bound",
        DRIVER_RELOAD: "the driver was loaded again, and its counters began again",
        REBOOT: "the host was started again, and its counters began again",
        LIBRARY_MISSING: "the vendor's library is not there; it is looked for again",
        DRIVER_MISSING: "the driver is not loaded or is another than its library",
        NOT_SUPPORTED: "no energy counter; power is read and integrated",
        NO_PERMISSION: "the collector may not read it",
        BLANK_VALUE: "the driver answered with a number that stands for none",
        READ_FAILED: "reading it failed",
        SUSPENDED: "the collector's process stood still",
        COLLECTOR_DOWN: "the collector was not running",
        CLOCK_STEP: "the host's clock was set",
        MIG_PARENT: "sliced by MIG; the counter of the whole board is read once",
        MODULE_SCOPE: "the counter covers CPU and memory of the module too",
        UNIT_CHANGED: "the counter jumped by a factor of 1,000; its unit is in doubt",
        SENSOR_STUCK: "the sensor showed one number for too long; it is not measured",
        UNIT_UNKNOWN: "what is read says no unit; no energy is read of it",
        SOURCE_SILENT: "nobody answers where the readings come from",
    }
)
