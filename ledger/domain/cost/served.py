"""What happened in one window, and which engine of which deployment served it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from ledger.domain.cost.deployment import Deployment, EngineKey, ServingDeployments
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.stepped import Stepped
from ledger.domain.cost.unclaimed import Growth, with_unclaimed
from ledger.domain.energy.gpu_spans import BoardSpans


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What happened in one window: attempts that ran, by engine key and entity, where those keys
    are, every GPU's energy, what engines counted, by instance, the GPUs whose counters cover CPU
    and memory beside them too, and the steps of engines that counted them."""

    attempts: pl.DataFrame
    keys: Mapping[int, EngineKey]
    gpus: Mapping[str, BoardSpans]
    counted: Mapping[str, Sequence[Growth]] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    stepped: Mapping[str, Stepped] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServedEngines:
    """A deployment of the entity, its engines, each on GPUs of its own, and what each served."""

    deployment: Deployment
    engines: Sequence[Deployment]
    served: Sequence[pl.DataFrame | None]


_SERVED = {
    "engine_key_id": pl.Int64,
    **dict.fromkeys(("entity_id", "deployment_id", "instance"), pl.String),
}


def served_engines(
    factory: Factory, moment: datetime, facts: WindowFacts
) -> Iterator[ServedEngines]:
    """Of every deployment of the entity at a moment."""
    deployed = valid_at(factory.deployments, moment)
    work = claimed(deployed, facts)
    for deployment in deployed:
        if deployment.entity_id == factory.entity.entity_id:
            engines, ran = deployment.engines(), work.get(deployment.deployment_id)
            own = [ran if len(engines) == 1 else _on(engine, ran) for engine in engines]
            served = [_counted(each, of, facts) for each, of in zip(engines, own, strict=True)]
            yield ServedEngines(deployment, engines, served)


def claimed(deployed: Sequence[Deployment], facts: WindowFacts) -> Mapping[str, pl.DataFrame]:
    """The attempts that each deployment served, by its id, with the instance that they ran on."""
    if facts.attempts.is_empty():
        return {}
    serving = ServingDeployments(deployed)
    keys = facts.attempts.select("engine_key_id", "entity_id").unique()
    served = [
        (key, entity_id, worked.deployment_id, facts.keys[key].engine_instance)
        for key, entity_id in keys.iter_rows()
        for worked in serving.of(facts.keys[key], entity_id)
    ]
    if not served:
        return {}
    by_key = pl.DataFrame(served, _SERVED, orient="row")
    claimed = facts.attempts.join(by_key, on=["engine_key_id", "entity_id"], nulls_equal=True)
    parts = claimed.partition_by("deployment_id", as_dict=True)
    return {str(deployment_id): part for (deployment_id,), part in parts.items()}


def _on(engine: Deployment, claimed: pl.DataFrame | None) -> pl.DataFrame | None:
    """What ran on the instances of a part of a deployment."""
    if claimed is None:
        return None
    own = claimed.filter(pl.col("instance").is_in(engine.engine_instances))
    return None if own.is_empty() else own


def _counted(
    engine: Deployment, claimed: pl.DataFrame | None, facts: WindowFacts
) -> pl.DataFrame | None:
    grown = [each for name in engine.engine_instances for each in facts.counted.get(name, ())]
    return with_unclaimed(claimed, grown, engine.deployment_id) if grown else claimed
