"""What commands print with ``--json``, held to the schemas that come with pimc."""

from __future__ import annotations

from functools import cache
from typing import Any

from pimc.schemas import load_schema


def strict(schema: Any) -> Any:
    """The schema with every object closed that says which keys it has."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def _validator(name: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(strict(load_schema(name)))


def problems(name: str, told: Any) -> list[str]:
    """Where JSON is not as its schema says, with the keys that it does not know."""
    errors = list(_validator(name).iter_errors(told))
    deep = [error for top in errors for error in (_deepest(top) if top.context else [top])]
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in deep]


def _deepest(error: Any) -> list[Any]:
    """Of the alternatives the one with the fewest problems."""
    found: dict[int, list[Any]] = {}
    for one in error.context:
        found.setdefault(one.schema_path[0], []).append(one)
    return min(found.values(), key=len)
