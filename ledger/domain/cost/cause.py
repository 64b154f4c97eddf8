"""Names the lines of cost, and why energy and cost of a scope are no usage's."""

from collections.abc import Mapping

from ledger.domain.cost.idle_policy import ASSET
from ledger.wire.causes import AT_REST, NO_DEPLOYMENT, NO_REQUEST, NO_WEIGHT, NOT_DEPLOYED, Cause

USAGE, IDLE, UNATTRIBUTED, UNCLAIMED = "usage", "idle", "unattributed", "unclaimed"
# By line: of hardware that serves nothing, and of what a deployment has.
CAUSES: Mapping[str, tuple[Cause, Cause]] = {
    IDLE: (NOT_DEPLOYED, AT_REST),
    UNATTRIBUTED: (NO_DEPLOYMENT, NO_WEIGHT),
    UNCLAIMED: (NO_REQUEST, NO_REQUEST),
}
METER = "gpu:"


def cause_of(line: str, scope: str) -> Cause:
    """Why a line that is no usage's is there.

    >>> cause_of("unattributed", "gpu:GPU-1")
    'no_deployment'
    """
    alone, deployed = CAUSES[line]
    return alone if scope.startswith((ASSET, METER)) else deployed
