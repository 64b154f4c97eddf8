"""What happened in one window, and which engine of which deployment served it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.cost.attempt_rows import ATTEMPT, rows_of
from ledger.domain.cost.attempts import WindowAttempts
from ledger.domain.cost.deployment import Deployment, EngineKey, ServingDeployments
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.stepped import Stepped
from ledger.domain.cost.unclaimed import SERVED, Growth, with_unclaimed
from ledger.domain.energy.gpu_spans import BoardSpans


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What happened in one window: attempts that ran, by engine key and entity, where those keys
    are, every GPU's energy, what engines counted, by instance, the GPUs whose counters cover CPU
    and memory beside them too, and the steps of engines that counted them."""

    attempts: WindowAttempts
    keys: Mapping[int, EngineKey]
    gpus: Mapping[str, BoardSpans]
    counted: Mapping[str, Sequence[Growth]] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    stepped: Mapping[str, Stepped] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """Attempts that somebody served in a window by their numbers among many rows, and by the
    instance that they ran on."""

    rows: Ints
    numbers: Mapping[str, Sequence[Ints]]

    @classmethod
    def of(cls, attempts: pl.DataFrame) -> "Served":
        """Of a frame as SERVED has it."""
        numbers: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(attempts["instance"].to_list()):
            numbers[name].append(row)
        return cls(rows_of(attempts), {name: [np.array(of_it)] for name, of_it in numbers.items()})

    def on(self, engine: Deployment) -> "Served | None":
        """What of it ran on the instances of a part of a deployment."""
        own = {name: at for name, at in self.numbers.items() if name in engine.engine_instances}
        return Served(self.rows, own) if own else None

    def frame(self) -> pl.DataFrame:
        """As a frame of SERVED."""
        parts = [(name, at) for name, numbers in self.numbers.items() for at in numbers]
        every = self.rows[np.concatenate([at for _, at in parts])]
        names = [name for name, at in parts for _ in range(at.size)]
        said = dict(zip(ATTEMPT, every.T, strict=True))
        return pl.DataFrame({**said, "instance": names}, SERVED)


@dataclass(frozen=True, slots=True)
class ServedEngines:
    """A deployment of the entity, its engines, each on GPUs of its own, and what each served."""

    deployment: Deployment
    engines: Sequence[Deployment]
    served: Sequence[Served | None]


def served_engines(
    factory: Factory, moment: datetime, facts: WindowFacts
) -> Iterator[ServedEngines]:
    """Of every deployment of the entity at a moment."""
    deployed = valid_at(factory.deployments, moment)
    work = claimed(deployed, facts)
    for deployment in deployed:
        if deployment.entity_id == factory.entity.entity_id:
            engines, ran = deployment.engines(), work.get(deployment.deployment_id)
            own = [ran if ran is None or len(engines) == 1 else ran.on(e) for e in engines]
            served = [_counted(each, of, facts) for each, of in zip(engines, own, strict=True)]
            yield ServedEngines(deployment, engines, served)


def claimed(deployed: Sequence[Deployment], facts: WindowFacts) -> Mapping[str, Served]:
    """The attempts that each deployment served, by its id."""
    serving = ServingDeployments(deployed)
    numbers: dict[str, dict[str, list[Ints]]] = defaultdict(lambda: defaultdict(list))
    for owner, attempts in facts.attempts.numbers.items():
        key = facts.keys[owner.engine_key_id]
        for worked in serving.of(key, owner.entity_id):
            numbers[worked.deployment_id][key.engine_instance].append(attempts)
    return {name: Served(facts.attempts.rows, of_it) for name, of_it in numbers.items()}


def frame_of(served: Served | None) -> pl.DataFrame | None:
    """As a frame of SERVED, where there are any."""
    return None if served is None else served.frame()


def _counted(engine: Deployment, served: Served | None, facts: WindowFacts) -> Served | None:
    grown = [each for name in engine.engine_instances for each in facts.counted.get(name, ())]
    if not grown:
        return served
    frame = frame_of(served)
    told = with_unclaimed(frame, grown)
    return served if told is None or told is frame else Served.of(told)
