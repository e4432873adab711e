"""Scripts: answers in another writing system than their prompt, as when a teacher changes to Chinese.

Only the script is compared, not the language: English instead of German is not found. Latin letters are never foreign,
since code, formulas and names have them in any language.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

_LEAST_LETTERS = 20  # a word or a symbol in another script, such as a name or α, is part of a normal answer
_EAST_ASIAN = "EAST ASIAN"
_GROUPS = {"CJK": _EAST_ASIAN, "HIRAGANA": _EAST_ASIAN, "KATAKANA": _EAST_ASIAN}  # Japanese mixes them
# By script, as in the Unicode names of its letters: beginnings of words that name its languages. A prompt with one of
# them may ask for an answer in the script.
NAMES: dict[str, str] = {
    _EAST_ASIAN: "chines chinois chino cinese mandarin cantones kanton japan japon giappon китай япон 中 汉 漢 华 日文 "
    "日语 日語 日本 중국 일본 الصين الياباني चीनी जापानी",
    "HANGUL": "korea corea coré корей 韩 韓 朝鲜 朝鮮 한국 الكوري कोरियाई",
    "CYRILLIC": "russ rusk ukrain ucrain oekra bulgar serb macedon mazedon macédon mongol belarus weißruss kazakh "
    "kasach русск украин 俄 乌克兰 ロシア 러시아 الروسي रूसी",
    "GREEK": "greek griech grec grego грец греч 希腊 希臘 ギリシ 그리스 اليوناني ग्रीक यूनानी",
    "ARABIC": "arab árab persian persisch persan farsi urdu ourdou pashto dari араб 阿拉伯 波斯 アラビア 아랍 العربي "
    "الفارسي अरबी उर्दू",
    "HEBREW": "hebr hébr ebraic ebreo yiddish иврит 希伯来 ヘブライ 히브리 العبري हिब्रू",
    "DEVANAGARI": "hindi marathi nepal sanskrit indian indisch хинди 印地 ヒンディー 힌디 الهندي हिन्दी हिंदी",
    "BENGALI": "bengal bangla assam",
    "TAMIL": "tamil",
    "TELUGU": "telugu",
    "GUJARATI": "gujarat",
    "GURMUKHI": "punjab panjab",
    "KANNADA": "kannada",
    "MALAYALAM": "malayalam",
    "SINHALA": "sinhal singhal",
    "THAI": "thai thaï tailand тай 泰 タイ 태국 التايلا थाई",
    "LAO": "lao",
    "KHMER": "khmer cambod kambod",
    "MYANMAR": "burm birm myanmar",
    "GEORGIAN": "georgi géorgi",
    "ARMENIAN": "armen armén",
    "ETHIOPIC": "amhar tigri ethiop äthiop éthiop",
}
_TRANSLATION = (
    "translat transliterat übersetz übertrag tradu перев przetłum tłumacz vertaal çevir 翻译 翻譯 翻訳 번역 ترجم अनुवाद "
    "native original"
)


def is_in_other_script(text: str, shown: Iterable[str]) -> bool:
    """Return whether most letters of a string, and at least 20, are in a script that no string in `shown` has.

    Chinese and Japanese characters count twice. A string in `shown` that names a language of the script, or asks for a
    translation, allows the script.
    """
    if text.isascii():
        return False
    letters = _count(text)
    script, count = max(letters.items(), key=lambda item: item[1], default=("", 0))
    if script not in NAMES or count < _LEAST_LETTERS or 2 * count <= letters.total():
        return False
    return not any(script in _count(one) or _asks_for(script).search(_fold(one)) for one in shown)


def _count(text: str) -> Counter[str]:
    """Count the letters of a string by script."""
    found = Counter(filter(None, map(_script_of, unicodedata.normalize("NFKC", text))))
    found[_EAST_ASIAN] *= 2
    return +found


@lru_cache(maxsize=1 << 14)
def _script_of(char: str) -> str | None:
    """Return the first word of a letter's Unicode name, which is its script; None for other characters."""
    if not char.isalpha():
        return None
    script = unicodedata.name(char, "").partition(" ")[0]
    return _GROUPS.get(script, script)


@lru_cache(maxsize=len(NAMES))
def _asks_for(script: str) -> re.Pattern[str]:
    """Return the pattern of words that name a language of a script, or a translation."""
    stems = [re.escape(_fold(stem)) for stem in f"{NAMES[script]} {_TRANSLATION}".split()]
    # Only Latin and Cyrillic words begin where a letter does not precede; others have prefixes or no spaces.
    return re.compile(
        "|".join(rf"(?<!\w){stem}" if _script_of(stem[0]) in ("LATIN", "CYRILLIC") else stem for stem in stems)
    )


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
