"""A request as every handler and guard takes it."""

from typing import Any, TypeAlias

from litestar import Request

# Litestar asks of what type user, authentication and state are; we use none of the three.
ApiRequest: TypeAlias = Request[Any, Any, Any]
