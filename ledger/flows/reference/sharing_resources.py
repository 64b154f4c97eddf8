"""What people enter of how cost is shared: by what work takes, and who pays for idle."""

from collections.abc import Sequence

from ledger.flows.reference import enter_idle, enter_weights
from ledger.flows.reference.resource import Ending, Resource
from ledger.store.cost.cost_inputs import WEIGHT_SETS
from ledger.store.cost.idle_policies import IDLE_POLICIES
from ledger.wire import answers, idle_inputs, weight_inputs

SHARING: Sequence[Resource] = (
    Resource(
        "weight set",
        "weight-sets",
        "what each kind of work takes at deployments",
        "deployment_id",
        answers.WeightSet,
        ("weight_set_id", "version", "source", "valid_from", "valid_to"),
        weight_inputs.NewWeightSet,
        enter_weights.enter_weight_set,
        dated=True,
        ending=Ending(WEIGHT_SETS),
    ),
    Resource(
        "idle policy",
        "idle-policies",
        "who pays for what stands idle",
        "entity_id",
        answers.IdlePolicy,
        ("scope", "method", "version", "valid_from", "valid_to"),
        idle_inputs.NewIdlePolicy,
        enter_idle.enter_idle_policy,
        dated=True,
        ending=Ending(IDLE_POLICIES, ("scope",), {"scope": ""}),
    ),
)
