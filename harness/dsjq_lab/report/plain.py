"""What may reach a terminal: text, and nothing that steers it.

Payloads, names and logs come from the system under study, and a terminal obeys control characters.
"""


def visible(line: str) -> str:
    """The line with whatever does not print (control characters, surrogates, bidi marks) spelled out."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
