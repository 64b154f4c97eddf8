"""What is never said: keys, passwords and credentials in addresses, taken out of every text.

Everything that leaves a process as a log, an error or a traceback passes `scrub`.
"""

import logging
import re
import sys
import threading
import traceback
from types import TracebackType
from urllib.parse import unquote, urlsplit

HIDDEN = "…"
# Shorter ones are words that stand in every text.
CHARS_MIN = 6
_known: set[str] = set()
_PATTERNS = (
    # user:password@ of an address, however it was written.
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"<>]*@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(tlk_[0-9A-Za-z]{1,32}_)[A-Za-z0-9_-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(whsec_)[A-Za-z0-9+/=]+"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(\bbearer\s+|authorization['\"]?\s*[:=]\s*['\"]?basic\s+)[A-Za-z0-9+/=._~-]{6,}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            r"((?:password|passwd|secret|api_?key|access_?key|token|signature)['\"]?\s*=\s*)"
            r"('[^']*'|\"[^\"]*\"|[^\s,;&)'\"]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


def keep_secret(*values: str | None) -> None:
    """Take these out of everything that is said from now on; of an address, its password."""
    for value in values:
        secret = (value or "") if "://" not in (value or "") else _password(value or "")
        _known.update(each for each in (secret, unquote(secret)) if len(each) >= CHARS_MIN)


def scrub(text: str) -> str:
    """The text without keys, passwords and credentials."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


class ScrubbingFormatter(logging.Formatter):
    """Lines of a log, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return scrub(super().format(record))


def log_to_stderr(level: str | int) -> None:
    """Log to stderr from now on, without secrets."""
    handler = logging.StreamHandler()
    handler.setFormatter(ScrubbingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def scrub_tracebacks() -> None:
    """Let no traceback of this process, whatever thread it ends, show a secret."""
    sys.excepthook = _show
    threading.excepthook = lambda end: _show(end.exc_type, end.exc_value, end.exc_traceback)


def _show(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, SystemExit):
        return
    sys.stderr.write(scrub("".join(traceback.format_exception(kind, error, trace))))


def _password(address: str) -> str:
    try:
        return urlsplit(address).password or ""
    except ValueError:
        return ""
