"""What strangers wrote, made harmless to look at: it can command no terminal, and turn no line around."""


def printable(text: str, length_max: int | None = None) -> str:
    """At most so many letters of it; control characters, also of direction, become their escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[:length_max])
