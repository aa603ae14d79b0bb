"""What a system's limit leaves for a lane."""

from pymigrate.engine.domain.rates import FREE, Rate


def test_lanes_have_equal_shares_of_a_rate() -> None:
    assert Rate(100.0, 10.0).shared(4) == Rate(25.0, 2.5)
    assert FREE.shared(4) == FREE
    assert Rate(100.0).shared(0) == Rate(100.0)


def test_of_two_rates_the_lower_holds_and_none_is_no_limit() -> None:
    assert Rate(100.0, 0.0).tighter(Rate(40.0, 7.0)) == Rate(40.0, 7.0)
    assert FREE.tighter(Rate(40.0)) == Rate(40.0)
    assert FREE.tighter(FREE) == FREE


def test_a_chunk_takes_as_long_as_the_tighter_of_bytes_and_rows_asks_for() -> None:
    assert Rate(100.0, 10.0).seconds(200, 5) == 2.0
    assert Rate(100.0, 1.0).seconds(200, 5) == 5.0
    assert FREE.seconds(10**12, 10**9) == 0.0
