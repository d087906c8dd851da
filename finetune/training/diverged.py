"""The error of a training run that diverged."""

from __future__ import annotations


class Diverged(ArithmeticError):
    """Training diverged: the loss, the gradient or a trained weight is not a finite number.

    The message is one line. It names the step, what is not finite, the rows of the step, and what
    to try.
    """
