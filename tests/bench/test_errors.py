"""Messages of errors are one line that is safe to print on a terminal."""

from bench.errors import (
    MAX_MESSAGE_LENGTH,
    ConfigError,
    Infeasible,
    describe_unknown,
    match_name,
)


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    assert str(ConfigError("two\nlines, \x1b[2J and \ud800")) == "two lines, ?[2J and ?"


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    message = str(Infeasible("begin " + "x" * 10**6 + " end"))
    assert message.startswith("begin x") and message.endswith("x end")
    assert len(message) < MAX_MESSAGE_LENGTH + 10


def test_a_name_is_found_in_upper_and_lower_case_if_only_one_is_meant() -> None:
    assert match_name("MOSP", ["dhp", "mosp"]) == "mosp"
    assert match_name("Mosp", ["MOSP", "mosp"]) == "Mosp"
    assert match_name("mosp", ["MOSP", "mosp"]) == "mosp"
    assert match_name("other", ["mosp"]) == "other"


def test_an_unknown_name_gets_the_nearest_known_one_whatever_its_case() -> None:
    assert describe_unknown("method", "USNET", ["us_net", "dhp"]) == (
        "unknown method 'USNET'; did you mean 'us_net'? known: dhp, us_net"
    )
