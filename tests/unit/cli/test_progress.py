"""Progress where there is no terminal: what is said is said, and nothing is drawn (on one: integration/cli/test_terminal.py)."""

from dispatcher.cli.progress import Bars, say


def test_a_line_goes_to_standard_error(capsys):
    say("users.txt:7: blank; skipped")
    assert capsys.readouterr() == ("", "users.txt:7: blank; skipped\n")


def test_without_a_terminal_bars_draw_nothing_and_lines_stay_whole(capsys):
    line = f"users.txt:7: no token: found [bold]{'x' * 200}; skipped"
    with Bars(1000, waits=True) as bars:
        bars.read(500)
        bars.enqueued(20)
        bars.say(line)
        bars.settled(10)
    assert capsys.readouterr() == ("", f"{line}\n")
