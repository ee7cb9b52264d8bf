"""The examples in the docstrings of the client run as they stand."""

import ast
import importlib
import inspect
import pkgutil
import textwrap

import pytest

import dispatcher.client

PROJECT = "demo-orchard-41"


def docstrings():
    """(place, docstring) of every public module, class and function of the client."""
    for info in pkgutil.iter_modules(dispatcher.client.__path__):
        module = importlib.import_module(f"dispatcher.client.{info.name}")
        yield info.name, module.__doc__
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") != module.__name__:
                continue
            yield f"{info.name}.{name}", value.__doc__
            for part, method in vars(value).items() if inspect.isclass(value) else ():
                if inspect.isfunction(method):
                    yield f"{info.name}.{name}.{part}", method.__doc__


def example(docstring):
    """The indented block under `Example:`; None: there is none."""
    _, found, rest = inspect.cleandoc(docstring or "").partition("Example:\n")
    if not found:
        return None
    lines = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines))


EXAMPLES = {place: code for place, docstring in docstrings() if (code := example(docstring))}


def test_whoever_learns_from_docstrings_finds_an_example_of_each():
    code = "\n".join(EXAMPLES.values())
    for name in ("Producer", "SyncProducer", "OutcomeReader", "OutcomeGroupReader", "DeadLetters"):
        assert f"{name}.at(" in code
    for call in (".send(", ".send_many(", ".multicast(", ".replay(", ".ack("):
        assert call in code


@pytest.mark.parametrize("place", EXAMPLES)
async def test_it_runs(place, redis_server, redis_client, capsys):
    names = {name: getattr(dispatcher.client, name) for name in dispatcher.client.__all__}
    names |= {"REDIS_URL": redis_server.url, "PROJECT": PROJECT}
    compiled = compile(EXAMPLES[place], place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(compiled, names)
    if inspect.iscoroutine(running):
        await running
