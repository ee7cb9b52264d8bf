from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.protocol.condition import Condition, Misread, Step, parse

A, B, C = "'a' in topics", "'b' in topics", "'c' in topics"


def subsets(names):
    return [set(found) for size in range(len(names) + 1) for found in itertools.combinations(names, size)]


def holds_for(text, names="abc"):
    """The sets of topics for which a condition holds, as strings."""
    condition = parse(text)
    assert isinstance(condition, Condition), condition
    return {"".join(sorted(found)) for found in subsets(names) if condition.evaluate(found)}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (A, lambda a, b, c: a),
        (f"!{A}", lambda a, b, c: not a),
        (f"!({A})", lambda a, b, c: not a),
        (f"!(!{A})", lambda a, b, c: a),
        (f"{A} && {B}", lambda a, b, c: a and b),
        (f"{A}||{B}", lambda a, b, c: a or b),
        # No precedence.
        (f"{A} || {B} && {C}", lambda a, b, c: (a or b) and c),
        (f"{A} && {B} || {C}", lambda a, b, c: (a and b) or c),
        (f"{A} || ({B} && {C})", lambda a, b, c: a or (b and c)),
        (f"!{A} || {B} && !{C}", lambda a, b, c: ((not a) or b) and not c),
        (f"!({A} || {B}) && {C}", lambda a, b, c: not (a or b) and c),
        (f"({A} && ({B} || !({C})))", lambda a, b, c: a and (b or not c)),
        ("  'a'  IN\tTopics &&\n'b' in topics ", lambda a, b, c: a and b),
        (" || ".join([A] * 5), lambda a, b, c: a),
    ],
)
def test_a_condition_means_what_it_says_from_left_to_right(text, meaning):
    expected = {
        "".join(sorted(found)) for found in subsets("abc") if meaning(*(name in found for name in "abc"))
    }
    assert holds_for(text) == expected


def test_a_negation_holds_for_who_follows_nothing():
    assert parse(f"!({A})").evaluate(())
    assert not parse(A).evaluate(())


def test_topics_are_told_apart_by_case_and_counted_as_often_as_they_are_named():
    assert not parse("'News' in topics").evaluate({"news"})
    assert parse(f"{A} || {B} && {A}").topics == ("a", "b", "a")


def test_nesting_without_end_needs_no_stack():
    deep = "!(" * 50_000 + A + ")" * 50_000
    assert parse(deep).evaluate({"a"})
    assert isinstance(parse("(" * 100_000), Misread)


@pytest.mark.parametrize(
    ("text", "found", "allowed"),
    [
        ("", "the end at character 1", "here stands a topic as 'news' in topics, ! or ("),
        ("news", "news at character 1", "here stands a topic"),
        ("'a'", "the end at character 4", "behind 'a' stands, after a space: in topics"),
        ("'a' in", "in at character 5", "behind 'a' stands"),
        ("'a'in topics", "in at character 4", "behind 'a' stands"),
        ("'a' in topicsy", "in at character 5", "behind 'a' stands, after a space: in topics"),
        ("'a in topics", "' at character 1 that nothing closes", "close the topic's name with '"),
        ('"a" in topics', '" at character 1', "single quotes"),
        (f"{A} &&", "the end at character 17", "here stands a topic"),
        (f"{A} & {B}", "& at character 15", "here stands && or ||, or the end"),
        (f"{A} and {B}", "and at character 15", "here stands && or ||"),
        (f"{A} {B}", "' at character 15", "here stands && or ||"),
        (f"&& {A}", "&& at character 1", "here stands a topic"),
        (f"{A} || || {B}", "|| at character 18", "here stands a topic"),
        (f"!!{A}", "! at character 2", "here stands a topic as 'news' in topics, or ("),
        (f"({A}", "( at character 1 that nothing closes", "close it with )"),
        (f"({A} || ({B}", "( at character 19 that nothing closes", "close it with )"),
        (f"({A} {B})", "' at character 16", "here stands &&, || or )"),
        (f"{A})", ") at character 14", "here stands && or ||, or the end"),
        ("()", ") at character 2", "here stands a topic"),
        ("'' in topics", "the topic '' at character 1", "1 to 900 characters"),
        ("'a b' in topics", "the topic 'a b' at character 1", "1 to 900 characters"),
        (f"{A} || '/topics/b' in topics", "the topic '/topics/b' at character 18", "leave out /topics/"),
        (f"'{'x' * 901}' in topics", "the topic 'xxx", "1 to 900 characters"),
        (" || ".join([A] * 6), "a sixth topic at character 86", "at most 5"),
    ],
)
def test_what_breaks_the_grammar_is_told_with_its_place(text, found, allowed):
    misread = parse(text)
    assert isinstance(misread, Misread)
    assert found in misread.found
    assert allowed in misread.allowed


OPERANDS = st.sampled_from("abcde").map(lambda name: (f"'{name}' in topics", name))


def _join(pieces):
    """Text and meaning of operands joined by operators, left to right."""
    (text, meaning), *rest = pieces
    for operator, (right, other) in rest:
        text, meaning = f"{text} {operator} {right}", (operator, meaning, other)
    return text, meaning


def _chains(operands):
    return st.builds(
        lambda first, rest: _join([first, *rest]),
        operands,
        st.lists(st.tuples(st.sampled_from(["&&", "||"]), operands), max_size=2),
    )


EXPRESSIONS = st.recursive(
    OPERANDS,
    lambda inner: (
        _chains(inner).map(lambda e: (f"({e[0]})", e[1])) | inner.map(lambda e: (f"!({e[0]})", ("!", e[1])))
    ),
    max_leaves=5,
)


def reference(meaning, topics):
    if isinstance(meaning, str):
        return meaning in topics
    if meaning[0] == "!":
        return not reference(meaning[1], topics)
    left, right = reference(meaning[1], topics), reference(meaning[2], topics)
    return (left and right) if meaning[0] == "&&" else (left or right)


@settings(max_examples=150)
@given(EXPRESSIONS)
def test_any_expression_is_evaluated_as_a_plain_reader_would(expression):
    text, meaning = expression
    condition = parse(text)
    if isinstance(condition, Misread):
        assert text.count(" in topics") > 5
        return
    for topics in subsets("abcde"):
        assert condition.evaluate(topics) == reference(meaning, topics)


@settings(max_examples=150)
@given(st.text(alphabet="'ab!()&| intopcs\n\"", max_size=40))
def test_any_text_is_read_or_misread(text):
    read = parse(text)
    if isinstance(read, Condition):
        assert read.evaluate({"a"}) in (True, False)
        assert sum(isinstance(step, Step) and step is not Step.NOT for step in read.steps) == (
            len(read.topics) - 1
        )
    else:
        assert "at character" in read.found
