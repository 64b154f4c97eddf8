"""Pages that sources fetch: where they are, and who asks for them."""

from urllib.parse import quote

from collectors.errors import CollectSettingsError
from collectors.fetch import Page, read_address
from collectors.source_settings import SourceSettings
from collectors.tls import client_context
from ledger.wire.secrets import keep_secret


def open_page(settings: SourceSettings, path: str) -> Page:
    """The page of a source at its `url`, or at `path` of it where that names a server alone."""
    address = read_address(settings.url)
    if address.path in {"", "/"}:
        address = address._replace(path=path)
    if settings.user is not None:
        name = f"{quote(settings.user, safe='')}:{quote(read_secret(settings), safe='')}"
        address = address._replace(netloc=f"{name}@{address.netloc.rpartition('@')[2]}")
    context = None
    if address.scheme == "https":
        context = client_context(cafile=settings.ssl_cafile)
    return Page(address, context)


def read_secret(settings: SourceSettings) -> str:
    """The password or community in `secret_file`; CollectSettingsError where there is none."""
    if settings.secret_file is None:
        raise CollectSettingsError(f"source {settings.kind}: name its secret_file")
    try:
        secret = settings.secret_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise CollectSettingsError(f"source {settings.kind}: secret_file: {error}") from None
    keep_secret(secret)
    return secret
