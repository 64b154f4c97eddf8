"""What a host offers: boards with their counters, servers that answer, and why not."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from collectors.advice import HostFinding, find_lacking, nvml_finding
from collectors.clock import utc_now
from collectors.errors import CollectError, SourceError
from collectors.fetch import shown
from collectors.scrape import Scraper
from collectors.settings import CollectSettings, ScrapeTarget
from collectors.sources.nvml import NvmlSource
from collectors.sources.nvml_board import BoardReport

TROUBLES_SAID = 3


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
    """What this host offers: boards with their counters (or why none), and servers; and each of
    these, and what else collecting needs, with what to do where it is missing."""

    boards: tuple[BoardReport, ...]
    nvml_problem: str | None
    targets: tuple[TargetReport, ...]
    findings: tuple[HostFinding, ...] = ()


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
    findings = (*_of_boards(settings, boards, nvml_problem), *map(_of_target, targets))
    return ProbeReport(boards, nvml_problem, targets, (*findings, *find_lacking(settings)))


def _of_boards(
    settings: CollectSettings, boards: tuple[BoardReport, ...], problem: str | None
) -> Iterator[HostFinding]:
    if problem is not None and settings.nvml != "off":
        yield nvml_finding("GPUs", problem)
    for board in boards:
        if board.problem is not None:
            yield nvml_finding(board.gpu_uuid, board.problem)
            continue
        slices = ", MIG: the parent is read" if board.mig else ""
        watts = f", {board.power_mw / 1_000:.0f} W" if board.power_mw is not None else ""
        said = f"{board.model}: {board.scope} counter at {board.energy_mj} mJ{watts}{slices}"
        yield HostFinding(board.gpu_uuid, "ok", said)


def _of_target(target: TargetReport) -> HostFinding:
    what = f"{target.engine} at {target.url}"
    if target.problem is not None:
        do = "start the server with its metrics on, or correct the target's engine and url"
        return HostFinding(what, "trouble", target.problem, do)
    names = f" (names {target.version})" if target.version else ""
    said = f"answers{names} with {', '.join(target.counters)}"
    if target.troubles:
        left = "; ".join(target.troubles[:TROUBLES_SAID])
        return HostFinding(what, "trouble", said, f"not read: {left}")
    return HostFinding(what, "ok", said)


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
