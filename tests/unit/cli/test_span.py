"""Durations read as people say them."""

import pytest

from dispatcher.cli.span import span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.25, "250 ms"),
        (1, "1.0 s"),
        (119.9, "119.9 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (172800, "2 d"),
    ],
)
def test_the_unit_suits_the_length(seconds, said):
    assert span(seconds) == said
