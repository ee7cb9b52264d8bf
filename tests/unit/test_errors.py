"""Exceptions that let go of what their frames held."""

import sys

from dispatcher.errors import untie


def fail(error: Exception) -> None:
    raise error


def raised(cause: BaseException | None = None) -> ValueError:
    try:
        fail(ValueError("of a library"))
    except ValueError as error:
        error.__cause__ = cause
        return error
    raise AssertionError


def test_an_exception_forgets_its_frames_and_those_of_its_causes_and_members() -> None:
    member, cause = raised(), raised()
    group = ExceptionGroup("two", [member, raised()])
    error = raised(group)
    group.__context__ = cause
    cause.__context__ = error  # a circle
    assert all(one.__traceback__ for one in (member, cause, error))
    untie(error)
    assert not any(one.__traceback__ for one in (member, cause, error, *group.exceptions))
    assert str(error) == "of a library"
    assert error.__cause__ is group


def test_what_the_caller_was_handling_keeps_its_own() -> None:
    try:
        fail(KeyError("the caller's"))
    except KeyError:
        outer = sys.exception()
        inner = raised()
        assert inner.__context__ is outer
        untie(inner, outer)
        assert inner.__traceback__ is None
        assert outer is not None
        assert outer.__traceback__ is not None
