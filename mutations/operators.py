"""What can be wrong in a file, one small thing at a time.

A comparison or its boundary, `and` for `or`, a condition left out, a number off by one, `min` for `max`, a statement
left out, None returned. Words for people (strings with a space, f-strings), annotations, decorators, locks and
`strict=True` stay as they are: the first have tests of their own, the others a type checker, or they say what never
happens, or nothing that a fast test could see.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Any

from attrs import frozen

NEGATED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
"""Each comparison's boundary, where it has one, and its opposite."""

SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.RShift: ast.LShift,
}
"""`|` is left alone: here it joins types and key views, which have no `&` of their own meaning."""

OPPOSITE = {"min": "max", "max": "min", "any": "all", "all": "any"}

REMOVED = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)


@frozen
class Mutation:
    """One change to one file."""

    file: str
    """Below `src/pointsman`."""
    where: str
    """The function or class, or "" for the module."""
    line: str
    """The source line that it is on."""
    before: str
    after: str
    lines: range
    """Lines that a test must reach to notice; empty where importing the module does."""
    source: str
    """The whole file, changed."""

    @property
    def name(self) -> str:
        """Says what was changed without line numbers, so that it lives as long as the line itself."""
        return f"{self.file} {self.where} | {self.line} | {self.before} -> {self.after}"


def mutations(file: str, source: str) -> Iterator[Mutation]:
    """Every mutation of a file. Where a line's text has the same one twice, the second has ` (2)` in its name."""
    tree, text = ast.parse(source), source.splitlines()
    times: Counter[tuple[str, str, str, str]] = Counter()
    for place in _places(tree, "", None):
        for replacement in _replacements(place.node):
            line, before, after = text[place.node.lineno - 1].strip(), _text(place.node), _text(replacement)
            place.put(replacement)
            changed = ast.unparse(ast.fix_missing_locations(tree))
            place.put(place.node)
            times[place.where, line, before, after] += 1
            count = times[place.where, line, before, after]
            suffix = f" ({count})" if count > 1 else ""
            yield Mutation(file, place.where, line, before, after + suffix, _lines(place), changed)


def _lines(place: "_Place") -> range:
    node: Any = place.node.test if isinstance(place.node, ast.If) else place.node
    return range(node.lineno, node.end_lineno + 1) if place.inside else range(0)


@frozen
class _Place:
    """Where a node hangs in its tree."""

    node: Any
    parent: ast.AST
    field: str
    index: int | None
    where: str
    inside: bool
    """Whether it runs when a function does, not when the module is imported."""

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _places(parent: ast.AST, where: str, function: ast.AST | None) -> Iterator[_Place]:
    for field, value in ast.iter_fields(parent):
        if _stays(parent, field):
            continue
        inside = function is not None and parent is not getattr(function, "args", None)
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or _is_declaration(node):
                continue
            position = index if isinstance(value, list) else None
            if isinstance(node, ast.expr | ast.stmt):
                yield _Place(node, parent, field, position, where, inside)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _places(node, f"{where}.{node.name}".lstrip("."), node)
            elif isinstance(node, ast.ClassDef):
                yield from _places(node, f"{where}.{node.name}".lstrip("."), function)
            else:
                yield from _places(node, where, function)


def _stays(parent: ast.AST, field: str) -> bool:
    return (
        field in {"annotation", "returns", "decorator_list", "bases", "ctx"}
        or isinstance(parent, ast.JoinedStr)
        or (isinstance(parent, ast.keyword) and parent.arg == "strict")
        or (isinstance(parent, ast.With) and field == "items")
    )


def _is_declaration(node: ast.AST) -> bool:
    """Docstrings, imports, type aliases and type variables."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
    if isinstance(node, ast.Assign):
        called = node.value.func if isinstance(node.value, ast.Call) else None
        return isinstance(called, ast.Name) and called.id == "TypeVar"
    return isinstance(node, ast.Import | ast.ImportFrom)


def _replacements(node: Any) -> Iterator[ast.AST]:  # noqa: PLR0912 - a table of cases
    match node:
        case ast.Compare(ops=[operator]):
            for other in NEGATED[type(operator)]:
                yield ast.Compare(node.left, [other()], node.comparators)
        case ast.Compare():
            for position, operator in enumerate(node.ops):
                for other in NEGATED[type(operator)]:
                    ops = [*node.ops[:position], other(), *node.ops[position + 1 :]]
                    yield ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            yield from _without_one(node.values, lambda values: ast.BoolOp(node.op, values))
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call()):
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.IfExp(test=ast.Name() | ast.Attribute() | ast.Call()):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.BinOp() if type(node.op) in SWAPPED:
            yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        case ast.Call(func=ast.Name(id=name)) if name in OPPOSITE:
            yield ast.Call(ast.Name(OPPOSITE[name], ast.Load()), node.args, node.keywords)
            if len(node.args) > 1:
                yield from _without_one(node.args, lambda args: ast.Call(node.func, args, node.keywords))
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(value=str() as value) if value and " " not in value:
            yield ast.Constant(f"not-{value}")
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
    if isinstance(node, ast.AugAssign) and type(node.op) in SWAPPED:
        yield ast.AugAssign(node.target, SWAPPED[type(node.op)](), node.value)
    if isinstance(node, REMOVED) or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)):
        yield ast.Pass()


def _without_one(values: list[ast.expr], of: Any) -> Iterator[ast.AST]:
    for position in range(len(values)):
        left = [*values[:position], *values[position + 1 :]]
        yield left[0] if len(left) == 1 else of(left)


def _text(node: ast.AST) -> str:
    """The node's first line; of a block, its condition."""
    return ast.unparse(ast.fix_missing_locations(node)).splitlines()[0].rstrip(":")
