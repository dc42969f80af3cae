"""Nested dicts, tuples and lists of tensors (a *carry*): flatten to named leaves, rebuild, map."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from fastweights.core.table import Table


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(path, Tensor or Table)`` in a fixed order; paths join keys and indices with ``/``; ``None`` has none."""
    if isinstance(tree, Tensor | Table):
        yield prefix, tree
    elif isinstance(tree, Mapping):
        for key in tree:
            yield from leaves(tree[key], f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, tuple | list):
        for i, item in enumerate(tree):
            yield from leaves(item, f"{prefix}/{i}" if prefix else str(i))
    elif tree is not None:
        raise TypeError(f"tree leaf {prefix!r} is a {type(tree).__name__}; only tensors, None, dicts, tuples and lists")


def rebuild(like: Any, named: Mapping[str, Any], prefix: str = "") -> Any:
    """The tree ``like`` with every tensor replaced by ``named[path]``. Raises KeyError for a path that is missing."""
    if isinstance(like, Tensor | Table):
        return named[prefix]
    if isinstance(like, Mapping):
        return {k: rebuild(v, named, f"{prefix}/{k}" if prefix else str(k)) for k, v in like.items()}
    if isinstance(like, tuple | list):
        items = [rebuild(v, named, f"{prefix}/{i}" if prefix else str(i)) for i, v in enumerate(like)]
        if hasattr(like, "_fields"):
            return type(like)(*items)
        return type(like)(items)
    return like


def map_tree(fn: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply ``fn`` to every tensor; structure unchanged."""
    return rebuild(tree, {path: fn(leaf) for path, leaf in leaves(tree)})
