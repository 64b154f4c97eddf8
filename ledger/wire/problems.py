"""What pydantic found wrong, as problems that say where, what was found and what to do."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ledger.wire.errors import Problem, ProblemCode, shorten


def list_problems(error: ValidationError) -> list[Problem]:
    """Every problem of one refused value, in field order."""
    return [_problem(detail) for detail in error.errors(include_url=False)]


def _problem(detail: ErrorDetails) -> Problem:
    context = detail.get("ctx", {})
    place = ".".join(str(part) for part in detail["loc"])
    if "field" in context:
        # Checks inside `usage` know their place from there on; the rest of the path is pydantic's.
        field = _join(place, str(context["field"]))
        return Problem(field, str(context["found"]), str(context["action"]), context["code"])
    found = "nothing" if detail["type"] == "missing" else shorten(detail["input"])
    return Problem(place or "event", found, _action(detail), _code(detail, place))


def _code(detail: ErrorDetails, place: str) -> ProblemCode:
    if place == "time" and (detail["type"] == "missing" or detail["input"] is None):
        return "missing_time"
    if detail["type"] == "greater_than_equal" and detail["ctx"]["ge"] == 0:
        return "negative_count"
    return "invalid_field"


def _join(place: str, field: str) -> str:
    """Put a check's own field behind the model's place, without naming the shared part twice."""
    if not place or field.startswith("data."):
        return field
    last = place.rpartition(".")[2]
    return place + field.removeprefix(last) if field.startswith(last) else f"{place}.{field}"


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
    context = detail.get("ctx", {})
    if "action" in context:
        return str(context["action"])
    template = _ACTIONS.get(detail["type"])
    return template.format(**context) if template else detail["msg"]
