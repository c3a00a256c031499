"""Regular expressions that take time in proportion to the text, whatever anybody writes into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

LONGEST = 200
"""Characters of a pattern."""
DEEPEST = 20
"""Groups within groups."""
_CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdecimal,
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
}
_QUANTIFIERS = "*+?"
_MARKS = r"\.[]{}()*+?^$|"

Test: TypeAlias = Callable[[str], bool]
"""Whether a character is one of those that stand at a place of the pattern."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the pattern: by which places it can begin and end, as bits; whether it fits the empty text."""

    empty: bool
    first: int
    last: int


_NOTHING = _Piece(empty=True, first=0, last=0)


class Pattern:
    r"""
    A pattern that has to fit the whole of a text.

    Understood are `.`, `[a-z]`, `[^a-z]`, `\d`, `\w`, `\s`, groups, `|`, `*`, `+` and `?`. What makes other engines
    try again and again, or look back, is refused: ValueError in words. The text is read once, with the set of all
    places of the pattern at which it may be (Glushkov's automaton), so that no pattern takes long.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"is longer than {LONGEST} characters")
        self._text = text.removeprefix("^")  # a pattern fits the whole: its ends mean nothing more
        if self._text.endswith("$") and not self._text.endswith(r"\$"):
            self._text = self._text[:-1]
        self._at = 0
        self._depth = 0
        self._tests: list[Test] = []
        self._follow: list[int] = []
        self._whole = self._alternatives()
        if self._at < len(self._text):
            raise ValueError('has a ")" too many')
        self._fitting: dict[str, int] = {}

    def fits(self, text: str) -> bool:
        """Tell whether the whole of a text fits."""
        if not text:
            return self._whole.empty
        at = self._whole.first
        for number, char in enumerate(text):
            if number:
                at = self._after(at)
            at &= self._places(char)
            if not at:
                return False
        return bool(at & self._whole.last)

    def _after(self, places: int) -> int:
        after = 0
        while places:
            lowest = places & -places
            after |= self._follow[lowest.bit_length() - 1]
            places ^= lowest
        return after

    def _places(self, char: str) -> int:
        """Give the places at which this character may stand."""
        if char not in self._fitting:
            self._fitting[char] = sum(1 << place for place, test in enumerate(self._tests) if test(char))
        return self._fitting[char]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _alternatives(self) -> _Piece:
        piece = self._sequence()
        while self._peek() == "|":
            self._take()
            other = self._sequence()
            piece = _Piece(piece.empty or other.empty, piece.first | other.first, piece.last | other.last)
        return piece

    def _sequence(self) -> _Piece:
        piece = _NOTHING
        while self._peek() not in {"", "|", ")"}:
            piece = self._joined(piece, self._quantified())
        return piece

    def _joined(self, one: _Piece, next_: _Piece) -> _Piece:
        self._link(one.last, next_.first)
        return _Piece(
            one.empty and next_.empty,
            one.first | (next_.first if one.empty else 0),
            next_.last | (one.last if next_.empty else 0),
        )

    def _link(self, ends: int, begins: int) -> None:
        for place in range(len(self._follow)):
            if ends >> place & 1:
                self._follow[place] |= begins

    def _quantified(self) -> _Piece:
        piece = self._atom()
        quantifier = self._peek()
        if quantifier == "{":
            raise ValueError('has a "{": write out what is to be repeated, or use * or +')
        if quantifier not in _QUANTIFIERS or not quantifier:
            return piece
        self._take()
        if self._peek() and self._peek() in _QUANTIFIERS:
            raise ValueError(f'has a "{self._peek()}" behind a "{quantifier}", where it means nothing')
        if quantifier != "?":
            self._link(piece.last, piece.first)
        return _Piece(piece.empty or quantifier != "+", piece.first, piece.last)

    def _atom(self) -> _Piece:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return self._place(self._class())
        if char == ".":
            return self._place(lambda other: other != "\n")
        if char == "\\":
            return self._place(self._escaped())
        if char in _MARKS:
            raise ValueError(f'has a "{char}" where it means nothing; "\\{char}" stands for the character itself')
        return self._place(char.__eq__)

    def _group(self) -> _Piece:
        if self._peek() == "?":
            self._at += 2
            if self._text[self._at - 2 : self._at] != "?:":
                raise ValueError('has a "(?", which is not understood here')
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"has more than {DEEPEST} groups within each other")
        piece = self._alternatives()
        self._depth -= 1
        if self._take() != ")":
            raise ValueError('has a "(" that is never closed')
        return piece

    def _place(self, test: Test) -> _Piece:
        self._tests.append(test)
        self._follow.append(0)
        bit = 1 << (len(self._tests) - 1)
        return _Piece(empty=False, first=bit, last=bit)

    def _escaped(self) -> Test:
        char = self._take()
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return test if char.islower() else lambda other: not test(other)
        if not char or char.isalnum():
            raise ValueError(f'has a "\\{char}", which is not understood here')
        return char.__eq__

    def _class(self) -> Test:
        negated = self._peek() == "^"
        if negated:
            self._take()
        tests: list[Test] = []
        while (char := self._take()) != "]":
            if not char:
                raise ValueError('has a "[" that is never closed')
            if char == "[":
                raise ValueError(r'has a "[" within brackets; "\[" stands for the character itself')
            tests.append(self._escaped() if char == "\\" else self._range(char))
        if not tests:
            raise ValueError('has a "[]" with nothing in it')
        return lambda other: any(test(other) for test in tests) is not negated

    def _range(self, first: str) -> Test:
        behind = self._text[self._at + 1 : self._at + 2]
        if self._peek() != "-" or behind in {"", "]"}:
            return first.__eq__
        self._at += 2
        last = self._take() if behind == "\\" else behind
        if last < first:
            raise ValueError(f'has a range "{first}-{last}" that ends before it begins')
        return lambda other: first <= other <= last
