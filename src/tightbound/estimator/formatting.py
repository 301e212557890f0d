"""How numbers are written: as many digits as matter, and no more digits than their errors allow."""

import numpy as np


def nats(value: float) -> str:
    """Return a number of nats with as many decimals as matter."""
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{decimals}f}"


def short(value: float) -> str:
    """Return a value in four significant digits, or all digits before the point."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e15 else f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """Return "1 row", "2 rows", "1,200 rows"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def words(name: str) -> str:
    """Return the name of an enumeration's member, or of a family, as a person writes it."""
    return name.lower().replace("_", " ")


def with_error(value: float, standard_error: float | None) -> tuple[str, str]:
    """Return value and standard error, the error in two significant digits and the value as fine as its error."""
    if standard_error is None or not np.isfinite(standard_error) or not np.isfinite(value):
        return (f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.5g}"), ""
    if standard_error <= 0:
        return f"{value:,.6g}", "0"
    decimals = max(0, 1 - int(np.floor(np.log10(standard_error))))
    if decimals > 6:
        return f"{value:,.6f}", f"{standard_error:.1e}"
    return f"{value:,.{decimals}f}", f"{standard_error:,.{decimals}f}"


def value_text(value: float, standard_error: float | None) -> str:
    """Return a number of nats as fine as its error, or "unknown"; without an error, as fine as matters."""
    if np.isnan(value):
        return "unknown"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    known = standard_error is not None and np.isfinite(standard_error) and standard_error > 0
    return with_error(value, standard_error)[0] if known else nats(value)


def plus_minus(value: float, standard_error: float | None) -> str:
    """Return "1.23 ± 0.04 nats", or without the error where there is none, or "unknown"."""
    said = value_text(value, standard_error)
    if not np.isfinite(value):
        return said
    _, error = with_error(value, standard_error)
    return f"{said} ± {error} nats" if error else f"{said} nats"


def signed(value: float, standard_error: float | None) -> str:
    """Return `plus_minus` without the unit and with a plus before what is above zero."""
    return ("+" if value > 0 else "") + plus_minus(value, standard_error).removesuffix(" nats")
