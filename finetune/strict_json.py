"""Writes JSON that conforms to its standard (RFC 8259), which has no literal for infinity."""

from __future__ import annotations

import json
import re
from typing import Any

_TEXT_OR_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')


def dumps(value: Any, indent: int | None = None) -> str:
    """`value` as JSON.

    An infinite number, such as a perplexity that overflows, is written as 1e999. This is a number
    in the standard, and Python and JavaScript read it as infinity. `value` must not contain NaN.

    Args:
        value: the value to write.
        indent: the number of spaces of a level. None: all on one line.
    """

    def strict(match: re.Match[str]) -> str:
        assert match[0] != "NaN", value
        return match[0] if match[0].startswith('"') else match[0].replace("Infinity", "1e999")

    return _TEXT_OR_WORD.sub(strict, json.dumps(value, indent=indent, ensure_ascii=False))
