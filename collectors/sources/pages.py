"""Pages that sources fetch: where they are, and who asks for them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from collectors.errors import CollectSettingsError, ScrapeError, SourceError
from collectors.fetch import Page, read_address
from collectors.source_settings import SourceSettings
from collectors.sources.source import SourceSample
from collectors.tls import client_context
from ledger.wire import meter_reasons as reasons
from ledger.wire.secrets import keep_secret


@dataclass(slots=True)
class PageSource:
    """A source that is one page: fetched, then read by its own reader."""

    page: Page
    timeout_s: float
    name: str
    read: Callable[[str, datetime], SourceSample]
    finished: bool = False

    @classmethod
    def of(
        cls, settings: SourceSettings, path: str, read: Callable[[str, datetime], SourceSample]
    ) -> "PageSource":
        """The page that the settings name; `path` where they name a server alone."""
        return cls(open_page(settings, path), float(settings.timeout_s), settings.kind, read)

    def sample(self, now: datetime) -> SourceSample:
        """Fetch and read once."""
        try:
            text = self.page.fetch(self.timeout_s)
        except ScrapeError as error:
            raise SourceError(str(error), reason=reasons.SOURCE_SILENT) from error
        return self.read(text, now)

    def close(self) -> None:
        """Let the connection go."""
        self.page.close()


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
