"""Left and right in the names of classes: what each becomes when a scan is mirrored.

Names are read in many spellings and languages, since a side that is overlooked teaches a network to
mix both up without a word; a word that is taken for a side by mistake only costs the mirroring.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from mots_pretrained.tasks import Task

Order = tuple[int, ...]
"""Position by position, which class (or task) one becomes when left and right change places."""

# Words that mean a side wherever they stand, accents and ø, ł, ı taken off; the rest is a matter of
# endings. English, codes, German, Dutch, French, Spanish, Portuguese, Italian and Latin, Swedish,
# Danish and Norwegian, Polish, Czech, Croatian and Serbian, Finnish, Romanian, Indonesian,
# Vietnamese, Russian and Ukrainian, Greek.
_SURE = (
    re.compile(
        r"left|lft|l|lt|lh|lk|lag|links|linke[mnrs]?|gauches?|izquierd[ao]s?|esquerd[ao]s?"
        r"|sinist(er|r[aeio]|rum)|vanster|venstre|lew[aey]|lev[aey]|lijev[aeiou]?"
        r"|vasen|stang[aiu]?|kiri|trai|лев\w*|лiв\w*|лів\w*|αριστερ\w*"
    ),
    re.compile(
        r"right|rgt|r|rt|rh|rk|rag|rechts|rechte[mnrs]?|droite?s?|derech[ao]s?|direit[ao]s?"
        r"|dext(er|r[aeio]|rum)|destr[aeio]|hoger|ho[jy]re|praw[aey]|prav[aey]"
        r"|desn[aeiou]?|oikea|drept[aiu]?|kanan|phai|прав\w*|δεξι\w*"
    ),
)
# Those that other words begin or end with as well: taken for a side where they are glued to one.
_BEGINS = (
    re.compile(r"(left|links|linker?|sinist(?:er|ra|ro))(?=..)"),
    re.compile(r"(right|rechts|rechter?|dext(?:er|ra|ro))(?=..)"),
)
_ENDS = (
    re.compile(r"(?<=..)(left|links|gauche)$"),
    re.compile(r"(?<=...)(?<!\bcopy)(right|rechts|droite?)$"),
)
_SIGNS = ("左좌왼", "右우오른")  # part of a word without a gap
# Words, and beginnings and ends of words, that mean a side only where the other one is there, too.
_PERHAPS = (
    {*["sx", "sin", "sn", "li", "izq", "izda", "izdo", "esq", "sol", "bal", "os", "g", "s", "i"]},
    {*["dx", "dex", "dxt", "dext", "re", "der", "dcha", "dcho", "dir", "sag", "jobb", "od", "d"]},
)
_GLUED = (("l", "lt", "lh"), ("r", "rt", "rh"))

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")
_LETTERS = str.maketrans("øØłŁıđĐ", "oOlLidD")
_PLACEHOLDERS = """
    class label segment seg segmentation structure region roi object obj organ mask channel target
    value index id category item contour part area unknown unnamed klasse classe clase etikett
    etiqueta etiquette segmento struktur organe organo
"""  # words that say nothing beside a number
_NUMBERS = "one two three four five six seven eight nine ten ii iii iv vi vii viii ix"


class _Reading(NamedTuple):
    """One way to read a name: its words without the side, and the side (0 left, 1 right)."""

    rest: str
    side: int

    def flipped(self) -> _Reading:
        return self._replace(side=1 - self.side)


def mirrored_classes(names: Sequence[str]) -> Order | None:
    """Return which class each becomes in a mirrored scan, or None where that can't be told.

    It can't where a class of one side has no counterpart on the other, or is only numbered; nor
    where codes of two or three letters differ by an L and an R, such as RUL and LUL: they may be
    sides, and others of their kind, such as RML, have none.

    Example:
        >>> mirrored_classes(("liver", "left_kidney", "right_kidney"))
        (0, 2, 1)
        >>> mirrored_classes(("liver", "left_kidney")) is None
        True
    """
    if any(_only_numbered(name) for name in names):
        return None
    return _order([(name,) for name in names])


def mirrored_tasks(tasks: Sequence[Task]) -> Order | None:
    """Return which task each becomes in a mirrored scan, or None where one has no counterpart."""
    return _order([(task.name, task.organ, task.tumour) for task in tasks])


def _order(rows: Sequence[tuple[str | None, ...]]) -> Order | None:
    """Pair rows of names, each name of which is mirrored into the other row's."""
    columns = [_partners(list(column)) for column in zip(*rows, strict=True)]
    order = []
    for row in range(len(rows)):
        become = [at for at in range(len(rows)) if all(at in column[row] for column in columns)]
        if len(become) != 1:
            return None
        order.append(become[0])
    return tuple(order) if [order[at] for at in order] == [*range(len(rows))] else None


def _partners(names: Sequence[str | None]) -> list[set[int]]:
    """Return, for each name, the places of those that it may become: itself if it has no side."""
    sure = [set() if name is None else _sure(name) for name in names]
    perhaps = [
        set() if name is None or own else _perhaps(name)
        for name, own in zip(names, sure, strict=True)
    ]
    readings = [own | other for own, other in zip(sure, perhaps, strict=True)]
    codes = [set() if name is None else _codes(name) for name in names]
    found = []
    for place, name in enumerate(names):
        wanted = {reading.flipped() for reading in readings[place]}
        others = {at for at, other in enumerate(readings) if at != place and wanted & other}
        same = {at for at, other in enumerate(names) if other == name}
        opposite = {reading.flipped() for reading in codes[place]}
        is_open = any(opposite & other for other in codes)
        found.append(others if others or sure[place] or is_open else same)
    return found


def _sure(name: str) -> set[_Reading]:
    """Read a name by the words that mean a side; empty without one, or with both."""
    rest, sides = [], set()
    for word, counted in _words(name):
        side, left = _side_of(word) if not counted else (None, word)
        rest.append(left)
        if side is not None:
            sides.add(side)
    return {_reading(rest, sides.pop())} if len(sides) == 1 else set()


def _side_of(word: str) -> tuple[int | None, str]:
    """Return the side that a word tells, and what is left of the word."""
    for side in (0, 1):
        if _SURE[side].fullmatch(word):
            return side, ""
        for pattern in (_BEGINS[side], _ENDS[side]):
            if pattern.search(word):
                return side, pattern.sub("", word)
        if any(sign in word for sign in _SIGNS[side]):
            return side, re.sub(f"[{_SIGNS[side]}][쪽측]?", "", word)
    return None, word


def _perhaps(name: str) -> set[_Reading]:
    """Read a name in every way in which a word, or a word's beginning or end, may tell a side."""
    words = [word for word, _ in _words(name)]
    found = set()
    for at, word in enumerate(words):
        others = words[:at] + words[at + 1 :]
        for side in (0, 1):
            if word in _PERHAPS[side] or word in _GLUED[side]:
                found.add(_reading(others, side))
            for part in _GLUED[side]:
                if word.startswith(part) and len(word) - len(part) > 2:
                    found.add(_reading([*others, word[len(part) :]], side))
                if word.endswith(part) and len(word) - len(part) > 2:
                    found.add(_reading([*others, word[: -len(part)]], side))
    return found


def _codes(name: str) -> set[_Reading]:
    """Read each short word as a letter for a side at its beginning or end, and one or two more."""
    words = [word for word, _ in _words(name)]
    found = set()
    for at, word in enumerate(words):
        if len(word) not in (2, 3):
            continue
        others = words[:at] + words[at + 1 :]
        for letter, rest in ((word[0], f"{word[1:]}-"), (word[-1], f"-{word[:-1]}")):
            if letter in "lr":
                found.add(_reading([*others, rest], "lr".index(letter)))
    return found


def _reading(rest: list[str], side: int) -> _Reading:
    return _Reading(" ".join(sorted(word for word in rest if word)), side)


def _only_numbered(name: str) -> bool:
    """Tell whether a name is a number, or a word that says nothing with a number or a letter."""
    words = [word for word, _ in _words(name)]
    numbers = [word for word in words if word.isdigit() or word in _NUMBERS.split()]
    placeholders = {*_PLACEHOLDERS.split()}
    if _sure(name):
        return False
    if not numbers:
        return any(len(word) == 1 for word in words) and not placeholders.isdisjoint(words)
    others = [word for word in words if word not in numbers]
    return len(others) <= 1 or not placeholders.isdisjoint(others)


def _words(name: str) -> list[tuple[str, bool]]:
    """Part a name into small words; also whether a word is a letter that a number counts on."""
    apart = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    plain = unicodedata.normalize(
        "NFC", "".join(sign for sign in apart if not 0x300 <= ord(sign) < 0x370)
    )
    return [
        (match[0].casefold(), len(match[0]) == 1 and plain[match.end() :][:1].isdigit())
        for match in _WORD.finditer(plain)
    ]
