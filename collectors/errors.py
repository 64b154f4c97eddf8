"""What can go wrong between a device and the ledger.

CollectError
├── CalledWrongError      the command line of the daemon is not one
├── CollectSettingsError  the settings do not say what to collect or where to send it
├── SourceError           a device source gave nothing this time
│   ├── BoardLostError    one board is gone; the others go on
│   ├── DriverGoneError   no board answers; the driver is looked for again
│   └── RestartNeededError  the driver was changed under the process; only a new process helps
├── HttpError             a server's answer is no HTTP, has no end or cannot be asked for
├── ScrapeError           an inference server gave nothing this time
├── GatewayUsageError     a usage object does not add up
├── SpoolError            the spool cannot keep what it was given
└── PublishError          a batch was not confirmed; it stays in the spool
"""

from ledger.wire.errors import TokenledgerError
from ledger.wire.meter_reasons import READ_FAILED


class CollectError(TokenledgerError):
    """Base of every error of the collector."""


class CalledWrongError(CollectError):
    """The command line of the daemon is not one."""


class CollectSettingsError(CollectError):
    """The settings do not say what to collect or where to send it."""


class SourceError(CollectError):
    """A device source gave nothing this time; the text says which device and why.

    `reason` is the code the ledger is told, `gpu_uuid` the device; None is all of the source.
    """

    def __init__(
        self, message: str, *, reason: str = READ_FAILED, gpu_uuid: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.gpu_uuid = gpu_uuid


class BoardLostError(SourceError):
    """One board is gone or must be reset; its stream stops and the others go on."""


class DriverGoneError(SourceError):
    """No board answers, because the driver or its library is not there; it is looked for again."""


class RestartNeededError(SourceError):
    """The driver was changed under the process: the loaded library cannot be swapped in place."""


class HttpError(CollectError):
    """A server's answer is no HTTP or has no end, or what is asked of it is no request."""


class ScrapeError(CollectError):
    """An inference server gave nothing this time; the text says which and why."""


class GatewayUsageError(CollectError, ValueError):
    """A usage object contradicts itself or lacks its counts."""


class SpoolError(CollectError):
    """The spool cannot keep what it was given, or holds what it cannot explain."""


class PublishError(CollectError):
    """A batch was not confirmed and stays in the spool; `retry_after_s` is how long to wait."""

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
