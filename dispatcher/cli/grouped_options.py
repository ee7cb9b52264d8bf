"""Options in groups: a command takes one value, and its users see the options that make it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

T = TypeVar("T")


def expands(**makers: Callable[..., Any]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Puts in place of a parameter those of the function that makes its value.

    typer makes an option of each parameter. So with

        @expands(where=dead_filter)
        def purge(*, config: Config = None, where: DeadFilter, yes: Yes = False) -> None:

    the command has --config, then the options of `dead_filter` in their order, then --yes. A maker may have a group of
    its own.

    Args:
        makers: by the name of the parameter; they are called in this order.

    Raises:
        TypeError: there is no such parameter, or the maker returns something else; mypy sees neither.
        ValueError: two options have the same name.
    """

    def with_groups(function: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(function, eval_str=True)
        groups = {name: inspect.signature(maker, eval_str=True) for name, maker in makers.items()}
        for name, group in groups.items():
            if name not in own.parameters:
                raise TypeError(f"{function.__name__} has no parameter {name}")
            wanted = own.parameters[name].annotation
            if group.return_annotation != wanted:
                raise TypeError(
                    f"{function.__name__} wants {name} as {wanted}, its maker returns {group.return_annotation}"
                )

        @wraps(function)
        def with_options(*args: Any, **kwargs: Any) -> T:
            bound = whole.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            made = {
                name: maker(**{option: given.pop(option) for option in groups[name].parameters})
                for name, maker in makers.items()
            }
            return function(**given, **made)

        whole = own.replace(
            parameters=[
                option
                for name, parameter in own.parameters.items()
                for option in (groups[name].parameters.values() if name in groups else [parameter])
            ]
        )
        # What typer looks at.
        with_options.__signature__ = whole  # type: ignore[attr-defined]
        with_options.__annotations__ = {name: option.annotation for name, option in whole.parameters.items()}
        return with_options

    return with_groups
