"""Options as typed fields: what a command takes is a frozen dataclass, each option one field.

    @dataclass(frozen=True)
    class LayoutsArguments:
        model: Path = argument(type=FILE)
        chip: ChipOptions = group(ChipOptions)
        budget: int | None = option("--budget", type=click.IntRange(1), help="Spend N arrays.")

The field keeps how to make click's parameter, which bears the field's name; type checkers hold the
field's type against that of click's parameter. :func:`parameters` gives click the parameters of a
class, :func:`filled` makes an instance of what click has parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from click import ParamType

__all__ = [
    "argument",
    "arguments",
    "filled",
    "flag",
    "group",
    "named_by_user",
    "option",
    "parameters",
    "several",
]

T = TypeVar("T")
#: A dataclass of options.
Options = TypeVar("Options", bound="DataclassInstance")

#: Keys of a field's metadata: what makes its parameter, or the class of the group that it is.
_MAKE, _GROUP = "make", "group"


@overload
def option(
    *flags: str, type: ParamType[T], help: str, metavar: str | None = None, required: Literal[True]
) -> T: ...
@overload
def option(
    *flags: str, type: ParamType[T], help: str, metavar: str | None = None, default: T
) -> T: ...
@overload
def option(*flags: str, type: ParamType[T], help: str, metavar: str | None = None) -> T | None: ...
def option(
    *flags: str,
    type: ParamType[Any],
    help: str,
    metavar: str | None = None,
    default: Any = None,
    required: bool = False,
) -> Any:
    """An option with a value; None where it has no default and is not given."""
    # To click a default of None is a value, too: nothing that is required would be missing.
    shown = {} if default is None else {"default": default, "show_default": True}

    def make(name: str) -> click.Parameter:
        declared = [*flags, name]
        return click.Option(
            declared, type=type, help=help, metavar=metavar, required=required, **shown
        )

    return _field(make, MISSING if required else default)


def several(*flags: str, type: ParamType[T], help: str, metavar: str | None = None,
            required: bool = False) -> tuple[T, ...]:  # fmt: skip
    """An option that may be given any number of times."""

    def make(name: str) -> click.Parameter:
        return click.Option(
            [*flags, name], type=type, help=help, metavar=metavar, required=required, multiple=True
        )

    made: tuple[T, ...] = _field(make, MISSING if required else ())
    return made


def flag(*flags: str, help: str) -> bool:
    """An option without a value."""

    def make(name: str) -> click.Parameter:
        return click.Option([*flags, name], is_flag=True, help=help)

    made: bool = _field(make, False)
    return made


@overload
def argument(*, type: ParamType[T], metavar: str | None = None) -> T: ...
@overload
def argument(
    *, type: ParamType[T], metavar: str | None = None, required: Literal[False]
) -> T | None: ...
def argument(*, type: ParamType[Any], metavar: str | None = None, required: bool = True) -> Any:
    """What is given by its place; None where it may be left out and is."""

    def make(name: str) -> click.Parameter:
        return click.Argument([name], type=type, metavar=metavar, required=required)

    return _field(make, MISSING if required else None)


def arguments(*, type: ParamType[T], metavar: str | None = None) -> tuple[T, ...]:
    """What is given by its place, one or more."""

    def make(name: str) -> click.Parameter:
        return click.Argument([name], type=type, metavar=metavar, required=True, nargs=-1)

    made: tuple[T, ...] = _field(make, MISSING)
    return made


def group(options: type[T]) -> T:
    """The options of another dataclass, which several commands take together."""
    made: T = field(default_factory=options, kw_only=True, metadata={_GROUP: options})
    return made


def _field(make: Callable[[str], click.Parameter], default: Any) -> Any:
    return field(default=default, kw_only=True, metadata={_MAKE: make})


def parameters(*options: type[DataclassInstance]) -> list[click.Parameter]:
    """Click's parameters of dataclasses of options, in the order of their fields.

    Raises:
        TypeError: a field is no option, or two share a name or a flag.
    """
    found = [parameter for one in options for parameter in _parameters(one)]
    names = Counter(name for one in found for name in {str(one.name), *one.opts})
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise TypeError(f"given to two fields: {', '.join(twice)}")
    return found


def _parameters(options: type[DataclassInstance]) -> Iterator[click.Parameter]:
    for one in fields(options):
        if _GROUP in one.metadata:
            yield from _parameters(one.metadata[_GROUP])
        elif _MAKE in one.metadata:
            yield one.metadata[_MAKE](one.name)
        else:
            raise TypeError(f"{options.__name__}.{one.name} is not declared as an option")


def filled(options: type[Options], given: Mapping[str, Any]) -> Options:
    """The dataclass with the values of click's parameters by name."""
    values = {
        one.name: filled(one.metadata[_GROUP], given) if _GROUP in one.metadata else given[one.name]
        for one in fields(options)
    }
    return options(**values)


def named_by_user(name: str) -> bool:
    """Whether the running command was given this option, be it with its default value."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE
