"""Scripts without spaces between words: their characters are used as words."""

import re

_RANGES = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u2e80-\u30ff"  # Han radicals, Chinese and Japanese punctuation, Hiragana, Katakana
    "\u3100-\u312f\u31a0-\u31ff"  # Bopomofo, strokes, more Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uff00-\uff9f"  # full-width punctuation, half-width Katakana
)
_CHARACTER = re.compile(f"([{_RANGES}])")


def separate(text: str) -> str:
    """Add spaces around each character of a script without spaces between words."""
    return _CHARACTER.sub(r" \1 ", text)
