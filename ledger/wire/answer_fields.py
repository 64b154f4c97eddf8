"""The fields of answers: money, other decimals, times; a row has its fields and no others."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Plain notation; zero has no minus.
_DECIMAL = r"^(\d+(\.\d+)?|-\d*[1-9]\d*(\.\d+)?|-\d+\.\d*[1-9]\d*)$"
# Money has its currency beside it, or beside the rows it is of.
Amount = Annotated[
    str, Field(pattern=_DECIMAL, description="Money.", json_schema_extra={"format": "money"})
]
Number = Annotated[str, Field(pattern=_DECIMAL)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Moment = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"),
    Field(json_schema_extra={"format": "date-time"}),
]
Day = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\d$"), Field(json_schema_extra={"format": "date"})
]


class ClosedModel(BaseModel):
    """A row that has these fields and no others."""

    model_config = ConfigDict(extra="forbid")
