"""Words and elements for SVG and HTML. Words came from the system under study: they are never markup."""

from html import escape
from typing import Any

from dsjq_lab.report.plain import visible

WORDS_MAX = 300  # letters at most, wherever all of them are asked for


def element(name: str, *content: str, **attributes: Any) -> str:
    """Content is markup already; attributes are not, and their names have _ for -."""
    pairs = ((key.strip("_").replace("_", "-"), escape(_number(value))) for key, value in attributes.items())
    said = "".join(f' {key}="{value}"' for key, value in pairs)
    return f"<{name}{said}>{''.join(content)}</{name}>\n" if content else f"<{name}{said}/>\n"


def text(words: str) -> str:
    return escape(brief(words))


def brief(words: str) -> str:
    return cut(words, WORDS_MAX)


def cut(words: str, room: int) -> str:
    """So many letters of them; of an error that is too long, its code and not its explanation."""
    words = visible(words)
    if len(words) > room and words.startswith("ERROR "):
        words = " ".join(words.split(" ")[:2])
    return words if len(words) <= room else words[: room - 1] + "…"


def _number(value: Any) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
