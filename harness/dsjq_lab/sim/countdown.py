"""How many points may be passed before the strategy is asked, counted down as cheaply as Python can.

Nearly every line of the code under study has a point (points.py), and at nearly all of them nothing happens.
So what a point does is all that exploring costs there: there is one countdown, the kernel sets it, and who
comes to its end calls the kernel.
"""

from collections.abc import Callable

FOREVER = 1 << 29  # points; such a number still fits into one digit of Python's, and is counted faster


class _Countdown:
    """A point is a call, a subtraction, a test."""

    def __init__(self) -> None:
        left = FOREVER
        at_zero: Callable[[], object] = dict  # nothing yet

        def point() -> None:
            nonlocal left
            left -= 1
            if not left:
                at_zero()

        def get() -> int:
            return left

        def put(number: int) -> None:
            nonlocal left
            left = number

        def call(function: Callable[[], object]) -> None:
            nonlocal at_zero
            at_zero = function

        self.point, self.get, self.put, self.call = point, get, put, call


COUNTDOWN = _Countdown()
point = COUNTDOWN.point
