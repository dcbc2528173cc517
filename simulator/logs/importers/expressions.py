"""Parse the expressions of an import map: arithmetic, comparisons and a few functions.

    play_time / duration > .8
    1 if watch_ratio >= 2 else 0
    is_in(event, "like", "collect") and not deleted

An expression is parsed with Python's ``ast`` and translated node by node into a Polars expression.
Nothing is evaluated as Python; what is not listed here is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import polars as pl

from simulator.errors import DataError

MOST_CHARACTERS = 2_000
_MOST_DEPTH = 40
_ARITHMETIC: dict[type[ast.operator], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_FUNCTIONS = "abs, min, max, round, floor, ceil, is_null, is_in, if_null, lower, contains"


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
        text: As written.
        numbers: Columns that it uses as numbers.
        texts: Columns that it uses as texts: compared with a text, or in a function of texts.
        value: The Polars expression over columns of those names.
    """

    text: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    value: pl.Expr

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that it uses."""
        return (*self.numbers, *self.texts)


def parse(text: str) -> Expression:
    """An expression over columns.

    A column is written as its name, or as ``col("any name")``. Texts are in quotes; ``None`` is
    missing. What is computed from a missing value is missing.

    Raises:
        DataError: it is no such expression; says at which character.
    """
    if len(text) > MOST_CHARACTERS:
        raise DataError(f"an expression has {len(text):,} characters, at most {MOST_CHARACTERS:,}.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = getattr(error, "offset", None)
        where = f" at character {at}" if at else ""
        raise DataError(f"expression '{text}' cannot be read{where}.", _help()) from None
    parser = _Parser(text)
    value = parser.expression(tree.body, 0)
    both = set(parser.numbers) & set(parser.texts)
    if both:
        raise DataError(f"expression '{text}': '{min(both)}' is used as a number and as a text.")
    return Expression(text, tuple(parser.numbers), tuple(parser.texts), value)


def _help() -> str:
    return f"Known: + - * / // %, < <= > >= == !=, and or not, A if B else C, {_FUNCTIONS}"


class _Parser:
    """Translate one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.numbers: dict[str, None] = {}
        self.texts: dict[str, None] = {}

    def expression(self, node: ast.AST, depth: int, *, text: bool = False) -> pl.Expr:
        """The expression of a node; ``text`` if its columns are texts."""
        if depth > _MOST_DEPTH:
            raise self._refused(node, "is nested too deeply")
        below = depth + 1
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return self._constant(node, value)
            case ast.Name(id=name):
                return self._column(name, text)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                first, second = self.expression(left, below), self.expression(right, below)
                return _ARITHMETIC[type(op)](first, second)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.expression(operand, below)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.expression(operand, below)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self._truth(operand, below)
            case ast.BoolOp(op=ast.And(), values=values):
                return reduce(lambda a, b: a & b, (self._truth(v, below) for v in values))
            case ast.BoolOp(op=ast.Or(), values=values):
                return reduce(lambda a, b: a | b, (self._truth(v, below) for v in values))
            case ast.Compare():
                return self._comparison(node, below)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                chosen = pl.when(self._truth(test, below)).then(self.expression(body, below))
                return chosen.otherwise(self.expression(orelse, below))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(node, name, args, below, text)
        raise self._refused(node, "is not allowed")

    def _constant(self, node: ast.AST, value: bool | int | float | str | None) -> pl.Expr:
        if isinstance(value, int) and abs(value) >= 2**63:
            raise self._refused(node, "is too large")
        return pl.lit(value)

    def _column(self, name: str, text: bool) -> pl.Expr:
        (self.texts if text else self.numbers)[name] = None
        return pl.col(name)

    def _truth(self, node: ast.AST, depth: int) -> pl.Expr:
        """A number is true if it is not 0."""
        value = self.expression(node, depth)
        logical = isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        )
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if named and node.func.id in ("is_null", "is_in", "contains"):  # type: ignore[attr-defined]
            logical = True
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            logical = True
        return value if logical else value != 0

    def _comparison(self, node: ast.Compare, depth: int) -> pl.Expr:
        sides = [node.left, *node.comparators]
        text = any(_is_text(side) for side in sides)
        values = [self.expression(side, depth, text=text) for side in sides]
        found = []
        for op, first, second in zip(node.ops, values[:-1], values[1:], strict=True):
            compare = _COMPARISONS.get(type(op))
            if compare is None:
                raise self._refused(node, "is not allowed")
            found.append(compare(first, second))
        return reduce(lambda a, b: a & b, found)

    def _call(
        self, node: ast.AST, name: str, args: Sequence[ast.expr], depth: int, text: bool
    ) -> pl.Expr:
        if name == "col" and len(args) == 1 and _is_text(args[0]):
            return self._column(_text_of(args[0]), text)
        if name == "is_in" and len(args) >= 2:
            texts = any(_is_text(a) for a in args[1:])
            options = [a.value for a in args[1:] if isinstance(a, ast.Constant)]
            if len(options) != len(args) - 1:
                raise self._refused(node, "takes a column and constants")
            return self.expression(args[0], depth, text=texts).is_in(options)
        if name == "is_null" and len(args) == 1:
            return self.expression(args[0], depth, text=text).is_null()
        if name == "contains" and len(args) == 2 and _is_text(args[1]):
            found = self.expression(args[0], depth, text=True)
            return found.str.contains(_text_of(args[1]), literal=True)
        if name == "lower" and len(args) == 1:
            return self.expression(args[0], depth, text=True).str.to_lowercase()
        values = [self.expression(a, depth) for a in args]
        if name in ("min", "max") and len(values) >= 2:
            return (pl.min_horizontal if name == "min" else pl.max_horizontal)(values)
        if name == "if_null" and len(values) == 2:
            return pl.coalesce(values)
        if name in ("abs", "floor", "ceil", "round") and len(values) == 1:
            number = values[0].cast(pl.Float64)
            rounded = {"abs": number.abs(), "floor": number.floor(), "ceil": number.ceil()}
            return rounded.get(name, number.round(0))
        raise self._refused(node, "is not allowed")

    def _refused(self, node: ast.AST, why: str) -> DataError:
        part = ast.get_source_segment(self._text.strip(), node) or self._text
        return DataError(f"expression '{self._text}': '{part[:80]}' {why}.", _help())


def _text_of(node: ast.AST) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lower":
        return True
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
