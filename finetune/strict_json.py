"""JSON by its standard (RFC 8259), which has no word for an infinite number."""

from __future__ import annotations

import json
import re
from typing import Any

_TEXT_OR_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')


def dumps(value: Any, indent: int | None = None) -> str:
    """`value` as JSON. An infinite number, such as a perplexity that overflows, is 1e999: a number
    by the standard, and infinite again where Python or JavaScript read it. A result is never NaN.
    """

    def strict(found: re.Match[str]) -> str:
        assert found[0] != "NaN", value
        return found[0] if found[0].startswith('"') else found[0].replace("Infinity", "1e999")

    return _TEXT_OR_WORD.sub(strict, json.dumps(value, indent=indent, ensure_ascii=False))
