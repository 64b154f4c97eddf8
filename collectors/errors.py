"""What can go wrong between a device and the ledger.

CollectError
├── CollectSettingsError  the settings do not say what to collect or where to send it
├── SourceError           a device source gave nothing this time
│   ├── BoardLostError    one board is gone; the others go on
│   └── RestartNeededError  the driver was changed under the process; only a new process helps
├── ScrapeError           an inference server gave nothing this time
├── GatewayUsageError     a usage object does not add up
├── SpoolError            the spool cannot keep what it was given
└── PublishError          a batch was not confirmed; it stays in the spool
"""

from ledger.wire.errors import TokenledgerError


class CollectError(TokenledgerError):
    """Base of every error of the collector."""


class CollectSettingsError(CollectError):
    """The settings do not say what to collect or where to send it."""


class SourceError(CollectError):
    """A device source gave nothing this time; the text says which device and why."""


class BoardLostError(SourceError):
    """One board is gone or must be reset; its stream stops and the others go on."""


class RestartNeededError(SourceError):
    """The driver was changed under the process: the loaded library cannot be swapped in place."""


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
