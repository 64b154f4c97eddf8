"""What a host offers: boards with their counters, servers that answer, and why not."""

from contextlib import closing
from dataclasses import dataclass

from collectors.clock import utc_now
from collectors.errors import CollectError, SourceError
from collectors.fetch import shown
from collectors.scrape import Scraper
from collectors.settings import CollectSettings, ScrapeTarget
from collectors.sources.nvml import BoardReport, NvmlSource


@dataclass(frozen=True, slots=True)
class TargetReport:
    """Whether an inference server answered, which counters it has, of which version its names are,
    and what of its page could not be read."""

    url: str
    engine: str
    counters: tuple[str, ...]
    problem: str | None
    version: str | None = None
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What this host offers: boards with their counters (or why none), and servers."""

    boards: tuple[BoardReport, ...]
    nvml_problem: str | None
    targets: tuple[TargetReport, ...]


def probe(settings: CollectSettings) -> ProbeReport:
    """Look at this host's boards and at the servers named, once, changing nothing."""
    boards: tuple[BoardReport, ...] = ()
    nvml_problem: str | None = None
    try:
        source = NvmlSource()
        source.open()
        boards = source.report()
        source.close()
    except SourceError as error:
        nvml_problem = str(error)
    timeout_s = float(settings.scrape_timeout_s)
    targets = tuple(_probe_target(target, timeout_s) for target in settings.targets)
    return ProbeReport(boards, nvml_problem, targets)


def _probe_target(target: ScrapeTarget, timeout_s: float) -> TargetReport:
    said = shown(target.url)
    try:
        with closing(Scraper.of(target)) as scraper:
            reading = scraper.scrape(now=utc_now(), timeout_s=timeout_s)
    except CollectError as error:
        return TargetReport(said, target.engine, (), str(error))
    names = tuple(sorted({counter.name for counter in reading.counters}))
    troubles = tuple(sorted(scraper.troubles))
    return TargetReport(said, target.engine, names, None, scraper.version, troubles)
