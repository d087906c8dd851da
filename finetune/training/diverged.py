"""The error of a training whose numbers stopped being finite."""

from __future__ import annotations


class Diverged(ArithmeticError):
    """The loss, the gradient or the weights are not finite numbers: training has no result.

    The message is one line: the step, what is not finite, its rows, and what to try.
    """
