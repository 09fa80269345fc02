"""Sums add up, in any order."""

from decimal import Decimal

from msgspec import msgpack

from extproc.terms.tallies import SECONDS, TOKENS, Spread, Tally


def spread(*values: float) -> Spread:
    made = Spread()
    for value in values:
        made.add(value, SECONDS)
    return made


def test_a_value_on_a_bound_is_below_it() -> None:
    assert spread(0.01).counts[0] == 1
    assert spread(0.011).counts[1] == 1
    assert spread(1000.0).counts[-1] == 1
    assert TOKENS[0] == 1.0
    assert TOKENS[-1] == 67108864.0


def test_spreads_add_up() -> None:
    whole, parts = spread(0.02, 0.5, 100.0), Spread()
    for part in (spread(0.5), Spread(), spread(100.0, 0.02)):
        parts.merge(part)
    assert parts == whole


def test_tallies_add_up_to_the_last_digit_and_travel() -> None:
    total = Tally()
    for n in range(3):
        one = Tally(
            1, 1, n, 10, 3, 2, 5, 4, 1, 0.5, 7, {"USD": Decimal("0.1"), "CNY": Decimal(n)}, duration=spread(0.1)
        )
        total.merge(msgpack.decode(msgpack.encode(one), type=Tally))
    assert total == Tally(
        3,
        3,
        3,
        30,
        9,
        6,
        15,
        12,
        3,
        1.5,
        21,
        {"USD": Decimal("0.3"), "CNY": Decimal(3)},
        duration=spread(0.1, 0.1, 0.1),
    )
