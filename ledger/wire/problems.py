"""What pydantic found wrong, as problems that say where, what was found and what to do."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ledger.wire.errors import FieldError, Problem, ProblemCode, shorten


def list_problems(error: ValidationError) -> list[Problem]:
    """Every problem of one refused value, in field order.

    A list is not too short where what it held was refused.
    """
    details = error.errors(include_url=False)
    inside = {detail["loc"][:n] for detail in details for n in range(len(detail["loc"]))}
    return [
        _problem(detail)
        for detail in details
        if detail["type"] != "too_short" or detail["loc"] not in inside
    ]


def _problem(detail: ErrorDetails) -> Problem:
    error = detail.get("ctx", {}).get("error")
    where = ".".join(str(part) for part in detail["loc"])
    if isinstance(error, FieldError) and error.field is not None:
        # Checks inside `usage` know where they are from there on; the rest is pydantic's.
        return Problem(_join(where, error.field), str(error.found), error.action, error.code)
    said = "nothing" if detail["type"] == "missing" else shorten(detail["input"])
    action = error.action if isinstance(error, FieldError) else _action(detail)
    return Problem(where or "event", said, action, _code(detail, where))


def _code(detail: ErrorDetails, where: str) -> ProblemCode:
    if where == "time" and (detail["type"] == "missing" or detail["input"] is None):
        return "missing_time"
    if detail["type"] == "greater_than_equal" and detail["ctx"]["ge"] == 0:
        return "negative_count"
    return "invalid_field"


def _join(where: str, field: str) -> str:
    """Put a check's own field behind that of its model, without naming the shared part twice."""
    if not where or field.startswith("data."):
        return field
    last = where.rpartition(".")[2]
    return where + field.removeprefix(last) if field.startswith(last) else f"{where}.{field}"


_ACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "send it",
        "extra_forbidden": "leave it out: there is no such field",
        "int_type": "send a whole number",
        "int_from_float": "send a whole number",
        "bool_type": "send true or false",
        "string_type": "send text",
        "string_unicode": "send text that is valid Unicode",
        "dict_type": "send an object",
        "dataclass_type": "send an object",
        "model_type": "send an object",
        "model_attributes_type": "send an object",
        "tuple_type": "send a list",
        "greater_than_equal": "send {ge} or more",
        "less_than_equal": "send {le} or less",
        "literal_error": "send {expected}",
        "string_too_short": "send at least {min_length} characters",
        "string_too_long": "send at most {max_length} characters",
        "too_long": "send at most {max_length}",
        "string_pattern_mismatch": "send text like {pattern}",
    }
)


def _action(detail: ErrorDetails) -> str:
    template = _ACTIONS.get(detail["type"])
    return template.format(**detail.get("ctx", {})) if template else detail["msg"]
