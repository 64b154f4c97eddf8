"""Libraries that measure the same boards, each as its documentation shows, once a second.

Run by the Python of a virtual environment that has them: `collector_peers.py NAME`. Ends on
SIGTERM and prints the joules it booked.
"""

import signal
import sys
import threading

ended = threading.Event()


def zeus() -> float:
    """A window of ZeusMonitor a second; what a window cannot say is not booked."""
    from zeus.monitor import ZeusMonitor

    monitor, joules, last = ZeusMonitor(), 0.0, ""
    while not ended.is_set():
        try:
            monitor.begin_window("second", sync_execution=False)
            ended.wait(1)
            joules += monitor.end_window("second", sync_execution=False).total_energy
        except Exception as error:
            # A window that failed is begun anew, and a trouble is said once.
            monitor.measurement_states.pop("second", None)
            if str(error) != last:
                sys.stderr.write(f"zeus: {error!r}\n")
            last = str(error)
            ended.wait(1)
    return joules


def codecarbon() -> float:
    """A tracker that measures every second, without a network."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",
        measure_power_secs=1,
        save_to_file=False,
        log_level="error",
        allow_multiple_runs=True,
    )
    tracker.start()
    ended.wait()
    tracker.stop()
    return float(tracker.final_emissions_data.gpu_energy) * 3_600_000


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    print(f"joules {({'zeus': zeus, 'codecarbon': codecarbon})[sys.argv[1]]():.3f}", flush=True)
