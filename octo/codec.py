"""Frozen dataclasses to JSON and back: one format for catalog, journal and API."""

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def dumps(value: object) -> bytes:
    """Write compact UTF-8 JSON with sorted keys, so that equal values have equal bytes."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":")).encode()


def loads(kind: type[T], data: bytes) -> T:
    """Read what `dumps` wrote. Unknown fields are dropped; absent ones take their defaults."""
    result: T = build(kind, json.loads(data))
    return result


def plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [plain(v) for v in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def build(kind: Any, value: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (a for a in args if a is not type(None))
        return build(kind, value)
    if origin is tuple:
        return tuple(build(args[0], v) for v in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {k: build(args[1], v) for k, v in value.items()}
    if hasattr(kind, "__supertype__"):
        return build(kind.__supertype__, value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        return kind(**{k: build(hints[k], v) for k, v in value.items() if k in hints})
    return value
