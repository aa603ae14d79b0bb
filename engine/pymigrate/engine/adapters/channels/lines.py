"""Text that goes into a header: one line, whatever somebody has written into a name or a subject."""

UNSAFE = frozenset("\u2028\u2029\x85")


def is_one_line(text: str) -> bool:
    """Whether nothing in it ends a line, controls anything, or can't be encoded: what doesn't is refused, never mended."""
    return text.isprintable() or not any(
        character < " " or "\x7f" <= character <= "\x9f" or character in UNSAFE or "\ud800" <= character <= "\udfff"
        for character in text
    )
