"""Why energy and cost are no usage's, as answers say it."""

from typing import Literal, TypeAlias

Cause: TypeAlias = Literal["at_rest", "not_deployed", "no_deployment", "no_weight", "no_request"]

# Engines that hold a model and run nothing, and hardware that serves nothing.
AT_REST: Cause = "at_rest"
NOT_DEPLOYED: Cause = "not_deployed"
# Meters that no deployment names, work that weighs nothing, and tokens that engines counted and no
# request claims.
NO_DEPLOYMENT: Cause = "no_deployment"
NO_WEIGHT: Cause = "no_weight"
NO_REQUEST: Cause = "no_request"
