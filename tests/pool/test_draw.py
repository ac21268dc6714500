"""Drawing rows at random."""

from collections.abc import Callable

from tamis.pool.rows import Row, draw


def test_draws_do_not_depend_on_the_order_of_the_rows(row: Callable[..., Row]) -> None:
    rows = [row(f"{i}?", str(i)) for i in range(20)]
    assert draw(rows, 5, seed=0) == draw(rows[::-1], 5, seed=0) == draw(rows, 20, seed=0)[:5]
    assert draw(rows, 5, seed=0) != draw(rows, 5, seed=1)
    assert sorted(draw(rows, 99, seed=0), key=lambda r: r.id) == sorted(rows, key=lambda r: r.id)
