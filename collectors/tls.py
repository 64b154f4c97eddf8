"""Whom a TLS connection of the collector trusts, and what it shows of itself."""

from pathlib import Path
from typing import TYPE_CHECKING

from collectors.errors import CollectSettingsError

if TYPE_CHECKING:
    from ssl import SSLContext


def client_context(
    *, cafile: Path | None = None, certfile: Path | None = None, keyfile: Path | None = None
) -> "SSLContext":
    """Trust `cafile` alone where it is given; CollectSettingsError where a file cannot be used."""
    # Loaded where somebody uses it: it is a sixth of a small daemon's memory.
    import ssl

    try:
        context = ssl.create_default_context(cafile=cafile)
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        files = ", ".join(str(path) for path in (cafile, certfile, keyfile) if path is not None)
        raise CollectSettingsError(f"TLS with {files}: {error}; check the files") from error
    return context
