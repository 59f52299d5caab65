"""Messages of errors are one line that is safe to print on a terminal."""

from bench.errors import MAX_MESSAGE_LENGTH, ConfigError, Infeasible


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    assert str(ConfigError("two\nlines, \x1b[2J and \ud800")) == "two lines, ?[2J and ?"


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    message = str(Infeasible("begin " + "x" * 10**6 + " end"))
    assert message.startswith("begin x") and message.endswith("x end")
    assert len(message) < MAX_MESSAGE_LENGTH + 10
