"""Units of answers: whether two answers state different ones. A unit that is not listed here is not judged."""

import re
from collections.abc import Mapping

Unit = tuple[tuple[str, int], ...]
"""The symbols of a unit and their powers, such as (("km", 1), ("h", -1))."""

_NAMES: Mapping[str, str] = {
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres",
    "m": "m meter meters metre metres",
    "km": "km kilometer kilometers kilometre kilometres",
    "in": "in inch inches",
    "ft": "ft foot feet",
    "yd": "yd yard yards",
    "mi": "mi mile miles",
    "s": "s sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "day": "day days",
    "week": "week weeks",
    "month": "month months",
    "year": "yr yrs year years",
    "mg": "mg milligram milligrams",
    "g": "g gram grams",
    "kg": "kg kilogram kilograms",
    "oz": "oz ounce ounces",
    "lb": "lb lbs pound pounds",
    "ml": "ml mL milliliter milliliters millilitre millilitres",
    "l": "l L liter liters litre litres",
    "gal": "gal gallon gallons",
    "degree": "degree degrees",
    "radian": "rad radian radians",
    "dollar": "dollar dollars USD",
    "cent": "cent cents",
    "euro": "euro euros EUR",
}
"""The spellings of each unit. Pounds may be a mass or money, so they differ from no currency."""
_BY_SPELLING = {spelling: symbol for symbol, spellings in _NAMES.items() for spelling in spellings.split()}
_SHORT = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h"}
_SIGNS = {"$": "dollar", "€": "euro", "¢": "cent"}
_CURRENCIES = ("dollar", "euro", "cent")
_MOST_CHARACTERS = 200
_COMMAND = re.compile(r"\\(?:text|textbf|mathrm|mbox|operatorname)\s*\{([^{}]*)\}")
_SPACE = re.compile(r"\\[,;:! ]|~")
_VALUE_AND_UNIT = re.compile(r".*?[\d)}%]\s*([A-Za-z].*?)[\s.]*")
_PART = re.compile(
    r"(?:(square|sq|cubic|cu)\.?\s+)?([A-Za-z]+)\.?(?:\s*\^\s*\{?([23])\}?|\s*([²³])|\s+(squared|cubed))?"
)
_POWERS = {"": 1, "2": 2, "3": 3, "²": 2, "³": 3, "square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}


def differ_in_units(answer: str, reference: str) -> bool:
    """Return whether both answers end in a known unit, and in different ones: 5 cm is not 5 m.

    Nothing is converted, so 100 cm and 1 m differ too, as their numbers do.
    """
    one, other = find_unit(answer), find_unit(reference)
    if one is None or other is None or one == other:
        return False
    symbols = {symbol for symbol, _ in (*one, *other)}
    return "lb" not in symbols or symbols.isdisjoint(_CURRENCIES)


def find_unit(text: str) -> Unit | None:
    """Return the unit at the end of an answer, or its currency; None if it has none, or one that is not known."""
    if len(text) > _MOST_CHARACTERS:
        return None
    bare = _SPACE.sub(" ", _COMMAND.sub(r" \1 ", text)).replace(r"\$", "$").strip()
    if bare.count("$") % 2 == 0:  # they delimit a formula
        bare = bare.replace("$", "").strip()
    signs = {_SIGNS[char] for char in bare if char in _SIGNS}
    if signs:
        return ((signs.pop(), 1),) if len(signs) == 1 else None
    if re.search(r"(?:\^\s*\{?\s*\\circ\s*\}?|°)$", bare):
        return (("degree", 1),)
    found = _VALUE_AND_UNIT.fullmatch(bare)
    return None if found is None else _read_unit(found[1])


def _read_unit(text: str) -> Unit | None:
    """Return the unit that words are; None if one of them is not known."""
    above, *below = re.split(r"\s*/\s*|\s+per\s+", _SHORT.get(text, text))
    parts = [(_read_part(above), 1), *((_read_part(one), -1) for one in below)]
    return tuple((part[0], sign * part[1]) for part, sign in parts if part) if all(part for part, _ in parts) else None


def _read_part(text: str) -> tuple[str, int] | None:
    found = _PART.fullmatch(text.strip())
    if found is None:
        return None
    before, name, *after = found.groups(default="")
    symbol = _BY_SPELLING.get(name) or _BY_SPELLING.get(name.lower() if len(name) > 2 else name)
    return None if symbol is None else (symbol, _POWERS[before or "".join(after)])
