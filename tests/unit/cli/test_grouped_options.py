"""Groups of options: what users see of them, what a command gets, and what is refused when it is written."""

import inspect
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dispatcher.cli.grouped_options import expands


def size(*, width: Annotated[int, typer.Option(help="Across.")] = 1, height: int = 2) -> tuple[int, int]:
    return width, height


@expands(area=size)
def box(*, colour: str = "red", area: tuple[int, int]) -> str:
    return f"{colour} {area}"


def names(function):
    return list(inspect.signature(function).parameters)


def test_a_group_stands_where_its_parameter_stood():
    @expands(area=size)
    def command(thing: str, *, first: int = 0, area: tuple[int, int], last: int = 0) -> None: ...

    assert names(command) == ["thing", "first", "width", "height", "last"]
    kinds = [parameter.kind.name for parameter in inspect.signature(command).parameters.values()]
    assert kinds == ["POSITIONAL_OR_KEYWORD", *["KEYWORD_ONLY"] * 4]


def test_the_command_gets_the_value_that_is_made_of_the_options():
    assert box(colour="blue", width=7, height=8) == "blue (7, 8)"


def test_options_that_are_left_out_have_their_defaults():
    assert box() == "red (1, 2)"


def test_a_group_may_have_a_group_of_its_own():
    @expands(content=box)
    def shelf(name: str, *, content: str) -> str:
        return f"{name}: {content}"

    assert names(shelf) == ["name", "colour", "width", "height"]
    assert shelf("upper", height=5) == "upper: red (1, 5)"


def test_groups_are_made_in_the_order_in_which_they_are_named():
    made = []

    def one(*, a: int = 1) -> int:
        made.append("one")
        return a

    def two(*, b: int = 2) -> int:
        made.append("two")
        return b

    @expands(second=two, first=one)
    def command(*, first: int, second: int) -> tuple[int, int]:
        return first, second

    assert command() == (1, 2)
    assert made == ["two", "one"]


def test_typer_shows_and_reads_the_options_of_the_group():
    app = typer.Typer()

    @app.command()
    @expands(area=size)
    def draw(name: str, *, area: tuple[int, int]) -> None:
        """Draws a box."""
        typer.echo(f"{name} {area}")

    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"}).stdout
    assert "Draws a box." in shown
    assert "Across. [default: 1]" in shown
    assert "--area" not in shown
    assert CliRunner().invoke(app, ["x", "--height", "9"]).stdout == "x (1, 9)\n"


def test_a_group_for_a_parameter_that_there_is_not_is_refused():
    with pytest.raises(TypeError, match="command has no parameter area"):

        @expands(area=size)
        def command(*, aera: tuple[int, int]) -> None: ...


def test_a_maker_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"command wants area as <class 'int'>, its maker returns tuple"):

        @expands(area=size)
        def command(*, area: int) -> None: ...


def test_two_options_of_one_name_are_refused():
    with pytest.raises(ValueError, match="duplicate parameter name: 'width'"):

        @expands(area=size)
        def command(*, width: int, area: tuple[int, int]) -> None: ...
