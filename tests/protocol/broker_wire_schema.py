"""The JSON broker's schema as a test asks it: is this frame what broker.schema.json says?"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).resolve().parents[2] / "protocol" / "broker.schema.json"


@cache
def validator(part: str) -> Draft202012Validator:
    """The schema's part for one direction; numbers are decimals, so that 'two decimals' is exact."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"), parse_float=Decimal)
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]})


def checked(part: str, text: str) -> str:
    """The frame itself, after the schema has approved of it."""
    validator(part).validate(json.loads(text, parse_float=Decimal))
    return text
