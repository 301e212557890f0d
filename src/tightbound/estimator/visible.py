"""Words on their way to a terminal."""

_HIDDEN = [*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in _HIDDEN if chr(code) not in "\n\t"}


def visible(text: object) -> str:
    """Text for a terminal: what would command it, or turn the order of its letters, is shown and not sent."""
    return str(text).translate(_SHOWN)
