"""The base of everything that is read from a file: frozen, documented, without unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from card.base.errors import LARGEST_WHOLE

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Level = Annotated[Number, Field(ge=-300, le=300)]
Loss = Annotated[Number, Field(ge=0, le=100)]
Share = Annotated[Number, Field(gt=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST_WHOLE)]
Natural = Annotated[int, Field(strict=True, ge=0, le=LARGEST_WHOLE)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(strict=True, min_length=1)]


class Record(BaseModel):
    """Frozen values that refuse unknown keys and document each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
