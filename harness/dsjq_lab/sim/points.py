"""Where one thread may give way to another: points, put between the statements of the code under study.

A thread can be interrupted anywhere, but only where it touches what others can see does that matter. So a
call of `__point__` is put before each statement of a function that has an attribute, an index or a call in
it; into a read and its write (`self.n += 1` becomes read, point, write); into each turn of a loop; and
inside `and`, `or`, conditional expressions and comprehensions. The source and its line numbers stay as they
are, so that a traceback, and a story, speak of the student's own file.
"""

import ast
from collections.abc import Iterator

POINT, HELD, VALUE, SEEN = "__point__", "__point_object__", "__point_value__", "__access__"
MUTATORS = frozenset({
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "move_to_end", "pop", "popitem",
    "popleft", "remove", "setdefault", "update",
})  # fmt: skip


def instrument(tree: ast.Module, file: str, *, accesses: bool = False) -> None:
    """Puts the points into a module, in place; and for detectors.py reports of its accesses to attributes."""
    _Instrument(file if accesses else "").visit(tree)
    ast.fix_missing_locations(tree)


def lines_with_points(tree: ast.Module) -> set[int]:
    """Of a module that has its points."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {name.lineno for name in names if name.id == POINT}


def touches(node: ast.AST) -> bool:
    """Whether it may read or write what another thread sees."""
    visible = ast.Attribute | ast.Subscript | ast.Call | ast.Delete
    return any(isinstance(part, visible) for part in parts(node))


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all in it that runs when it runs: not the body of a lambda."""
    yield node
    if not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from parts(child)


def accesses(node: ast.AST) -> Iterator[tuple[str, str, bool]]:
    """(variable, attribute, whether it is written), for each `variable.attribute` that is used.

    What an attribute contains is `attribute[]`. Left out are variables that the node itself binds: a report
    that stands before it could not know them.
    """
    names = [part for part in parts(node) if isinstance(part, ast.Name)]
    bound = {name.id for name in names if not isinstance(name.ctx, ast.Load)}
    for part in parts(node):
        match part:
            case ast.Attribute(ast.Name(name), attribute, context):
                found = name, attribute, not isinstance(context, ast.Load)
            case ast.Subscript(ast.Attribute(ast.Name(name), attribute), _, context):
                found = name, f"{attribute}[]", not isinstance(context, ast.Load)
            case ast.Call(ast.Attribute(ast.Attribute(ast.Name(name), attribute), verb)):
                found = name, f"{attribute}[]", verb in MUTATORS
            case _:
                continue
        if name not in bound:
            yield found


def opening(statement: ast.stmt) -> list[ast.expr]:
    """What a compound statement evaluates before its body."""
    match statement:
        case ast.If():
            return [statement.test]
        case ast.For():
            return [statement.iter]
        case ast.With():
            return [item.context_expr for item in statement.items]
        case ast.Match():
            return [statement.subject]
    return []


def is_compound(statement: ast.stmt) -> bool:
    return hasattr(statement, "body") or isinstance(statement, ast.Match)


def call(function: str, at: ast.AST, *arguments: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Call(ast.Name(function, ast.Load()), list(arguments), []), at)


def point(at: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.Expr(call(POINT, at)), at)


def point_then(expression: ast.expr) -> ast.expr:
    """A point, and then the value: `__point__()` is None."""
    return ast.copy_location(ast.BoolOp(ast.Or(), [call(POINT, expression), expression]), expression)


class _Instrument(ast.NodeTransformer):
    def __init__(self, reporting: str) -> None:
        self.reporting = reporting  # the name of the file, if accesses are to be reported
        self.inside = 0  # functions and loops around us: what a module does but once is left alone

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.inside += 1
        node.body = self.block(node.body)
        self.inside -= 1
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        inside, self.inside = self.inside, 0
        node.body = self.block(node.body)
        self.inside = inside
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.inside += 1
        node.test = point_then(self.visit(node.test))
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        self.inside -= 1
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        node.iter = self.visit(node.iter)
        self.inside += 1
        node.body = [point(node.body[0]), *self.block(node.body)]
        node.orelse = self.block(node.orelse)
        self.inside -= 1
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self.inside:
            first, *rest = node.values
            node.values = [first, *(point_then(value) if touches(value) else value for value in rest)]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if self.inside:
            node.body = point_then(node.body) if touches(node.body) else node.body
            node.orelse = point_then(node.orelse) if touches(node.orelse) else node.orelse
        return node

    def visit_element(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> ast.AST:
        self.generic_visit(node)
        if self.inside and touches(node):
            node.elt = point_then(node.elt)
        return node

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_element

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self.block(value))
            elif isinstance(value, list):
                value[:] = [self.visit(item) if isinstance(item, ast.AST) else item for item in value]
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        return [new for statement in statements for new in self.statement(statement)]

    def statement(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        if not self.inside:
            yield self.visit(statement)
            return
        first = opening(statement) if is_compound(statement) else [statement]
        if any(touches(part) for part in first):
            yield point(statement)
        if self.reporting:
            for owner, name, writes in sorted({access for part in first for access in accesses(part)}):
                place = f"{self.reporting}:{statement.lineno}"
                told = [ast.Constant(value) for value in (name, writes, place)]
                report = call(SEEN, statement, ast.Name(owner, ast.Load()), *told)
                yield ast.copy_location(ast.Expr(report), statement)
        statement = self.visit(statement)
        match statement:
            case ast.AugAssign(target=ast.Attribute() as target):
                yield from self.read_modify_write(statement, target)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()], value=value) if touches(value):
                yield from self.compute_then_write(statement)
            case _:
                yield statement

    def read_modify_write(self, statement: ast.AugAssign, target: ast.Attribute) -> Iterator[ast.stmt]:
        """`o.a += v` as `object = o; value = object.a; point; value += v; object.a = value`."""
        held = ast.Name(HELD, ast.Load())
        steps: list[ast.stmt] = [
            ast.Assign([ast.Name(HELD, ast.Store())], target.value),
            ast.Assign([ast.Name(VALUE, ast.Store())], ast.Attribute(held, target.attr, ast.Load())),
            point(statement),
            ast.AugAssign(ast.Name(VALUE, ast.Store()), statement.op, statement.value),
            ast.Assign([ast.Attribute(held, target.attr, ast.Store())], ast.Name(VALUE, ast.Load())),
        ]
        return (ast.copy_location(step, statement) for step in steps)

    def compute_then_write(self, statement: ast.Assign) -> Iterator[ast.stmt]:
        """`o.a = f(…)` as `value = f(…); point; o.a = value`."""
        yield ast.copy_location(ast.Assign([ast.Name(VALUE, ast.Store())], statement.value), statement)
        yield point(statement)
        statement.value = ast.Name(VALUE, ast.Load())
        yield statement
