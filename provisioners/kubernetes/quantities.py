"""Amounts as Kubernetes writes them.

Kubernetes gives back another spelling than it was given (1.5Gi becomes 1536Mi, 0.5 becomes 500m), and Terraform's
provider takes that for a change where it is about a limit range. So amounts are written in Kubernetes' own spelling
to begin with: no fraction, the largest unit that fits, binary or decimal as it was. `Quantity` in
https://github.com/kubernetes/apimachinery/blob/master/pkg/api/resource/quantity.go
"""

from __future__ import annotations

import re
from fractions import Fraction

PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
_DECIMAL = ("m", "", "k", "M", "G", "T", "P", "E")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def canonical(text: str) -> str:
    """Return an amount in Kubernetes' own spelling. Raises ValueError for what is none, or finer than a thousandth."""
    match = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text) if re.search(PATTERN, text) else None
    if match is None:
        raise ValueError(f"{text!r} is no amount, such as 500m, 2 or 1.5Gi")
    number, unit = Fraction(match[1]), match[2]
    if unit in _BINARY[1:]:
        value = number * 1024 ** _BINARY.index(unit)
        if value >= 1024 and value.denominator == 1:
            return _written(int(value), 1024, _BINARY)
    else:
        value = number * Fraction(1000) ** (_DECIMAL.index(unit) - 1)
    thousandths = value * 1000
    if thousandths.denominator != 1:
        raise ValueError(f"{text} is finer than a thousandth")
    return _written(int(thousandths), 1000, _DECIMAL)


def _written(number: int, step: int, units: tuple[str, ...]) -> str:
    index = 0
    while number and number % step == 0 and index < len(units) - 1:
        number, index = number // step, index + 1
    return f"{number}{units[index]}" if number else "0"
