"""What is wrong with a record, said before anything trusts it."""

from __future__ import annotations

import re
from typing import Any

from artifex.core.plugins.hookspecs import RECORD_TYPES
from artifex.core.plugins.records import ModelRecord

NAME = re.compile(r"[a-z][a-z0-9_]*")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
TARGETS = ("model", "config", "example", "target")  # fields that hold import strings
TUPLES = ("modalities", "capabilities", "requirements", "spec")


def problem_of(kind: str, record: Any) -> str:
    """What is wrong with a record that `register_KIND` returned, in one line; empty if nothing is."""
    wanted = RECORD_TYPES[kind]
    if not isinstance(record, wanted):
        return f"register_{kind}: expected records of type {wanted.__name__}, got {record!r}. Return a list of them."
    fields: dict[str, Any] = record._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    for name, value in fields.items():
        if name in TARGETS and not (isinstance(value, str) and TARGET.fullmatch(value)):
            return f"register_{kind}: expected {name!r} as 'module:object', got {value!r}. Write an import string."
        if name in TUPLES and not isinstance(value, tuple):
            return f"register_{kind}: expected {name!r} as a tuple, got {value!r}. Write (…,)."
    if isinstance(record, ModelRecord) and not NAME.fullmatch(str(record.name)):
        return f"register_models: expected a name of [a-z][a-z0-9_]*, got {record.name!r}. Rename the model."
    return ""
