"""Near misses: one place that turns a wrong name or a wrong config into a one-line error that says what was meant."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fastweights.errors import FastweightsError

M = TypeVar("M", bound=BaseModel)


def near_miss(name: str, options: Iterable[str], *, listing: bool = True) -> str:
    """``"; did you mean 'x'?"``, or with ``listing`` the options if nothing is close (at most 12), or nothing."""
    names = sorted(set(options))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if not names or not listing:
        return ""
    more = ", ..." if len(names) > 12 else ""
    return f"; known: {', '.join(names[:12])}{more}"


def validate(model: type[M], data: Mapping[str, Any], source: str) -> M:
    """Build ``model`` from ``data``; an error names ``source``, the field, the value and the near miss."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise FastweightsError(f"{source}: {describe(error, model)}") from None


def validate_given(model: type[M], source: str, /, **given: Any) -> M:
    """:func:`validate` of command-line flags: those that are None were not given, so the model's defaults hold."""
    return validate(model, {name: value for name, value in given.items() if value is not None}, source)


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first complaint of a pydantic error in one line."""
    first = error.errors(include_url=False)[0]
    loc = [str(part) for part in first["loc"]]
    field = ".".join(loc) or "value"
    if first["type"] == "extra_forbidden":
        return f"unknown key '{field}'{near_miss(loc[-1], _fields_at(model, loc[:-1]))}"
    message = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    shown = "" if isinstance(value, (dict, BaseModel)) or first["type"] == "missing" else f" (got {value!r:.80})"
    rest = error.error_count() - 1
    return f"{field}: {message}{shown}" + (f" (and {rest} more)" if rest else "")


def _fields_at(model: type[BaseModel] | None, path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation if model and part in model.model_fields else None
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return list(model.model_fields) if model else []
