"""Glob specs that name which parameters are fast, e.g. ``("suffix_blocks.*.mlp.*", "norm.*")``."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase


def select(names: Iterable[str], patterns: str | Sequence[str]) -> list[str]:
    """Names that match any pattern, in the order of ``names``.

    Raises ValueError when a pattern matches nothing (a silent empty set of fast weights is never what was meant).
    """
    names = list(names)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if not patterns:
        raise ValueError("spec is empty: name at least one pattern, e.g. 'context.*'")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, names, n=1, cutoff=0.3) or names[:1]
            hint = f"; the nearest parameter is {near[0]!r}" if near else "; the module has no parameters"
            raise ValueError(f"spec {pattern!r} matches no parameter{hint}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
