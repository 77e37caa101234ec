# SPDX-License-Identifier: Apache-2.0
"""Python control flow on tensors inside tf.function, converted to tf.cond and tf.while_loop.

A function is rewritten before it is traced: `if`, `while`, `for`, `break`, `continue`, early `return`, `and`, `or`,
`not`, `assert` and conditional expressions ask at run time whether a tensor decides (converted.py), and stay plain
Python where none does. User functions that it calls are rewritten when called. Not converted: generators, coroutines,
functions with `global` or `nonlocal`, code without source, a `return` inside a `with` or `try` that goes on afterwards;
a tensor that decides there is an error that shows tf.cond and tf.while_loop.
"""
import ast
import copy
import functools
import inspect
import textwrap
import types

from fitloom.tracing import converted

_CACHE: dict = {}
_OURS = "__fitloom_autograph__"
_JUMPS = (ast.Break, ast.Continue, ast.Return)
_UNTOUCHED = ("super", "locals", "globals", "vars", "print", "isinstance")
_SCOPES = (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef, ast.ClassDef)


# ---------------------------------------------------------------- questions about source

def _walk(statements, into_loops=True):
    """All nodes, but not those of nested functions."""
    stack = list(statements)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, _SCOPES) and (into_loops or not isinstance(node, (ast.For, ast.While))):
            stack.extend(ast.iter_child_nodes(node))


def _contains(statements, kinds, into_loops=True):
    return any(isinstance(node, kinds) for node in _walk(statements, into_loops))


def _jumps(statements, kinds):
    """Whether statements hold a break or continue of the loop around them."""
    for node in statements:
        if isinstance(node, kinds):
            return True
        if isinstance(node, (ast.For, ast.While)):
            if _jumps(node.orelse, kinds):
                return True
        elif not isinstance(node, _SCOPES) and _jumps(ast.iter_child_nodes(node), kinds):
            return True
    return False


def _assigned(statements):
    """Names, and attributes and elements of names, that statements assign (not inside nested functions)."""
    names, parts = [], []

    class Visitor(ast.NodeVisitor):
        def visit_Name(self, node):
            if isinstance(node.ctx, (ast.Store, ast.Del)) and node.id not in names:
                names.append(node.id)

        def part(self, node):
            text = ast.unparse(node)
            if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and text not in parts \
                    and (isinstance(node, ast.Attribute) or isinstance(node.slice, ast.Constant)):
                parts.append(text)
            self.generic_visit(node)

        visit_Attribute = visit_Subscript = part

        def visit_FunctionDef(self, node):
            if node.name not in names and not node.name.startswith(_OURS):
                names.append(node.name)

        def visit_ExceptHandler(self, node):
            for statement in node.body:
                self.visit(statement)

        def visit_Lambda(self, node):
            pass

        visit_ClassDef = visit_Lambda
        visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda

    for statement in statements:
        Visitor().visit(statement)
    names = [n for n in names if not n.startswith(_OURS)]
    return names + [p for p in parts if p.partition(".")[0].partition("[")[0] not in names]


def _always_returns(statements):
    if not statements:
        return False
    last = statements[-1]
    if isinstance(last, (ast.Return, ast.Raise)):
        return True
    if isinstance(last, ast.With):
        return _always_returns(last.body)
    return isinstance(last, ast.If) and _always_returns(last.body) and _always_returns(last.orelse)


def _expression(text, **parts):
    class Fill(ast.NodeTransformer):
        def visit_Name(self, node):
            return parts.get(node.id, node)
    return Fill().visit(ast.parse(text, mode="eval").body)


def _set(name, text):
    return ast.parse(f"{name} = {text}").body[0]


# ---------------------------------------------------------------- jumps become flags

class _Jumps:
    """Replaces break, continue and return in loops by flags that guard what follows."""

    def __init__(self):
        self.count = 0

    def name(self, kind):
        self.count += 1
        return f"{kind}_{self.count}"

    def block(self, statements):
        """Lower the loops among statements (outside of loops)."""
        done = []
        for position, statement in enumerate(statements):
            if isinstance(statement, (ast.For, ast.While)):
                lowered, returned = self.loop(statement)
                done += lowered
                if returned:
                    flag, value = returned
                    rest = self.block(statements[position + 1:])
                    test = ast.If(ast.Name(flag, ast.Load()), [ast.Return(ast.Name(value, ast.Load()))], [])
                    return done + [test] + rest
            else:
                self.inside(statement, self.block)
                done.append(statement)
        return done

    def inside(self, statement, block):
        """Apply `block` to the statement lists of an if, with or try."""
        if isinstance(statement, _SCOPES):
            return
        for field in ("body", "orelse", "finalbody"):
            if isinstance(getattr(statement, field, None), list):
                setattr(statement, field, block(getattr(statement, field)))
        for handler in getattr(statement, "handlers", ()):
            handler.body = block(handler.body)

    def loop(self, node):
        """Return (statements, (flag, value) of a return inside, or None)."""
        before, orelse = [], node.orelse
        returned = stop = None
        if _contains(node.body, ast.Return):
            returned = (self.name(converted.FLAG), self.name(converted.VALUE))
            before.append(_set(returned[0], "False"))
        body = node.body
        if returned or _jumps(body, ast.Break):
            stop = self.name(converted.FLAG)
            before.append(_set(stop, "False"))
        skip = self.name(converted.FLAG) if _jumps(body, ast.Continue) else None
        node.body, _ = self.guarded(body, stop, skip, returned)
        if skip:
            node.body = [_set(skip, "False")] + node.body
        node.orelse = []
        if stop and isinstance(node, ast.While):
            node.test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), ast.Name(stop, ast.Load())), node.test])
        elif stop:
            node.stop = stop
        after = []
        if orelse:
            orelse = self.block(orelse)
            after = [ast.If(ast.UnaryOp(ast.Not(), ast.Name(stop, ast.Load())), orelse, [])] if stop else orelse
        return before + [node] + after, returned

    def guarded(self, statements, stop, skip, returned):
        """Return (statements with jumps as flags, whether one may have been taken)."""
        done = []
        for position, statement in enumerate(statements):
            taken = False
            if isinstance(statement, ast.Break):
                return done + [_set(stop, "True")], True
            if isinstance(statement, ast.Continue):
                return done + [_set(skip, "True")], True
            if isinstance(statement, ast.Return):
                value = ast.Assign([ast.Name(returned[1], ast.Store())], statement.value or ast.Constant(None))
                return done + [value, _set(returned[0], "True"), _set(stop, "True")], True
            if isinstance(statement, (ast.For, ast.While)):
                lowered, inner = self.loop(statement)
                done += lowered
                if inner:
                    passed = [ast.Assign([ast.Name(returned[1], ast.Store())], ast.Name(inner[1], ast.Load())),
                              _set(returned[0], "True"), _set(stop, "True")]
                    done.append(ast.If(ast.Name(inner[0], ast.Load()), passed, []))
                    taken = True
            else:
                found = []

                def block(inner, found=found):
                    lowered, jumped = self.guarded(inner, stop, skip, returned)
                    found.append(jumped)
                    return lowered
                self.inside(statement, block)
                taken = any(found)
                done.append(statement)
            if taken and statements[position + 1:]:
                flags = [f for f in (stop, skip) if f]
                test = ast.UnaryOp(ast.Not(), ast.BoolOp(ast.Or(), [ast.Name(f, ast.Load()) for f in flags])
                                   if len(flags) > 1 else ast.Name(flags[0], ast.Load()))
                rest, _ = self.guarded(statements[position + 1:], stop, skip, returned)
                return done + [ast.If(test, rest, [])], True
            if taken:
                return done, True
        return done, False


# ---------------------------------------------------------------- rewriting

class _Rewriter(ast.NodeTransformer):
    """Rewrites one function body; nested functions keep their own scope."""

    def __init__(self):
        self.count = 0

    def name(self, kind):
        self.count += 1
        return f"{_OURS}{kind}_{self.count}"

    def block(self, statements, tail=False):
        """Rewrite a list of statements; `tail`: the function ends after them.

        An `if` with returns takes the rest of the list into its branches.
        """
        done = []
        for position, statement in enumerate(statements):
            rest = statements[position + 1:]
            if isinstance(statement, ast.If) and _contains([statement], ast.Return):
                if tail:
                    then = statement.body + ([] if _always_returns(statement.body) else rest)
                    otherwise = statement.orelse + ([] if _always_returns(statement.orelse) else rest)
                    return done + self._if_return(statement, then, otherwise)
                done.append(self._generic(statement))
                continue
            if isinstance(statement, (ast.With, ast.Try)):
                statement.body = self.block(statement.body, tail and (not rest or _always_returns(statement.body))
                                            and not getattr(statement, "orelse", []))
                for item in getattr(statement, "items", ()):
                    item.context_expr = self.visit(item.context_expr)
                for handler in getattr(statement, "handlers", ()):
                    handler.body = self.block(handler.body)
                for field in ("orelse", "finalbody"):
                    if hasattr(statement, field):
                        setattr(statement, field, self.block(getattr(statement, field)))
                done.append(statement)
                continue
            result = self.visit(statement)
            done += result if isinstance(result, list) else [result]
        return done

    def _function(self, name, arguments, body, returned=None):
        """def name(arguments): body; return returned. Attributes among them are set first, unless they are kept."""
        plain = [a if a.isidentifier() else self.name("part") for a in arguments]
        first = [ast.parse(f"if {p} is not {_OURS}.KEEP:\n    {a} = {p}").body[0]
                 for a, p in zip(arguments, plain) if a != p]
        if returned is not None:
            pairs = dict(zip(arguments, plain))
            values = [n if n.isidentifier() else f"{_OURS}.KEEP if {pairs[n]} is {_OURS}.KEEP else {n}"
                      for n in returned]
            body = body + ast.parse(f"return ({', '.join(values)}{',' if values else ''})").body
        elif not _always_returns(body):
            body = body + [ast.Return(ast.Constant(None))]
        return ast.FunctionDef(
            name=name, args=ast.arguments([], [ast.arg(a) for a in plain], None, [], [], None, []),
            body=first + body, decorator_list=[], type_params=[])

    def _current(self, names):
        """A tuple of the names' values; an undefined one gives Undefined; an attribute is read when needed."""
        parts = ", ".join(f"{_OURS}.value_of(lambda: {n}, {n!r})" if n.isidentifier() else
                          f"{_OURS}.Attribute(lambda: {n}, {n!r})" for n in names)
        return ast.parse(f"({parts}{',' if names else ''})", mode="eval").body

    def _store(self, names, value):
        if not names:
            return [ast.Expr(value)]
        plain = [n if n.isidentifier() else self.name("part") for n in names]
        after = [ast.parse(f"if {p} is not {_OURS}.KEEP:\n    {n} = {p}").body[0]
                 for n, p in zip(names, plain) if n != p]
        return [ast.Assign([ast.Tuple([ast.Name(n, ast.Store()) for n in plain], ast.Store())], value)] + after

    def _if_return(self, node, then, otherwise):
        assigned = [n for n in _assigned(then + otherwise) if n.isidentifier()]
        first, second, key = self.name("then"), self.name("otherwise"), self.name("values")
        # names assigned inside start with the value they have outside
        functions = [self._function(name, assigned, self.block(copy.deepcopy(statements), True))
                     for name, statements in ((first, then), (second, otherwise))]
        bind = ast.Assign([ast.Name(key, ast.Store())], self._current(assigned))
        result = _expression(f"{_OURS}.if_return(TEST, lambda: {first}(*{key}), lambda: {second}(*{key}))",
                             TEST=self.visit(node.test))
        return [*functions, bind, ast.Return(result)]

    def visit_If(self, node):
        names = _assigned(node.body + node.orelse)
        then, otherwise = self.name("then"), self.name("otherwise")
        statements = [self._function(then, names, self.block(node.body), names),
                      self._function(otherwise, names, self.block(node.orelse) or [ast.Pass()], names)]
        value = _expression(f"{_OURS}.if_statement(TEST, {then}, {otherwise}, VALUES, {tuple(names)!r})",
                            TEST=self.visit(node.test), VALUES=self._current(names))
        return statements + self._store(names, value)

    def _generic(self, node):
        node.test = self.visit(node.test)
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        return node

    def visit_While(self, node):
        names = _assigned(node.body)
        test, body = self.name("test"), self.name("body")
        statements = [self._function(test, names, [ast.Return(self.visit(node.test))]),
                      self._function(body, names, self.block(node.body), names)]
        value = _expression(f"{_OURS}.while_statement({test}, {body}, VALUES, {tuple(names)!r})",
                            VALUES=self._current(names))
        return statements + self._store(names, value)

    def visit_For(self, node):
        iterated, stop = self.visit(node.iter), getattr(node, "stop", None)
        assign = ast.Assign([node.target], ast.Constant(None))
        names = _assigned([assign, *node.body])              # the target keeps its last value after the loop
        body, element = self.name("body"), self.name("element")
        inner = [ast.Assign([node.target], ast.Name(element, ast.Load()))] + self.block(node.body)
        function = self._function(body, names, inner, names)
        function.args.args.insert(0, ast.arg(element))
        value = _expression(f"{_OURS}.for_statement(ITER, {body}, VALUES, {tuple(names)!r}, {stop!r}, "
                            f"{isinstance(node.target, ast.Name)})", ITER=iterated, VALUES=self._current(names))
        return [function, *self._store(names, value)]

    def visit_BoolOp(self, node):
        values = [self.visit(v) for v in node.values]
        function = "both" if isinstance(node.op, ast.And) else "either"
        result = values[-1]
        for value in reversed(values[:-1]):
            result = _expression(f"{_OURS}.{function}(lambda: LEFT, lambda: RIGHT)", LEFT=value, RIGHT=result)
        return result

    def visit_Compare(self, node):
        """a < b < c is two comparisons, joined; the middle is evaluated once where it is a name or number."""
        self.generic_visit(node)
        if len(node.ops) == 1 or not all(isinstance(c, (ast.Name, ast.Constant)) for c in node.comparators[:-1]):
            return node
        left, parts = node.left, []
        for operator, right in zip(node.ops, node.comparators):
            parts.append(ast.Compare(left, [operator], [right]))
            left = right
        return self.visit_BoolOp(ast.BoolOp(ast.And(), parts))

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        return _expression(f"{_OURS}.negate(VALUE)", VALUE=node.operand) if isinstance(node.op, ast.Not) else node

    def visit_IfExp(self, node):
        self.generic_visit(node)
        return _expression(f"{_OURS}.if_return(TEST, lambda: THEN, lambda: OTHERWISE)", TEST=node.test,
                           THEN=node.body, OTHERWISE=node.orelse)

    def visit_Assert(self, node):
        self.generic_visit(node)
        message = "None" if node.msg is None else "lambda: MESSAGE"
        return ast.Expr(_expression(f"{_OURS}.assert_statement(lambda: TEST, {message})", TEST=node.test,
                                    MESSAGE=node.msg))

    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in _UNTOUCHED:
            return node
        node.func = _expression(f"{_OURS}.call(FUNCTION)", FUNCTION=node.func)
        return node

    def visit_FunctionDef(self, node):
        """A nested function is rewritten in its own scope."""
        if not _contains(node.body, _REFUSED):
            node.body = _rewritten(node.body, self)
        return node

    def visit_Lambda(self, node):
        node.body = self.visit(node.body)
        return node

    def visit_AsyncFunctionDef(self, node):
        return node

    visit_ClassDef = visit_AsyncFunctionDef
    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_AsyncFunctionDef


_REFUSED = (ast.Nonlocal, ast.Global, ast.Yield, ast.YieldFrom, ast.Await)


def _rewritten(body, rewriter):
    return rewriter.block(_Jumps().block(body), tail=True) or [ast.Pass()]


def convert(function):
    """Return the function with control flow on tensors converted; the function itself where that cannot be done."""
    if isinstance(function, types.MethodType):
        result = convert(function.__func__)
        return function if result is function.__func__ else types.MethodType(result, function.__self__)
    if not isinstance(function, types.FunctionType) or getattr(function, "_do_not_convert", False) \
            or isinstance(function.__globals__, _Globals):
        return function
    key = function.__code__
    maker = _CACHE.get(key)
    if maker is None:
        maker = _CACHE[key] = _compile(function) or False
    if maker is False:
        return function
    made = maker(function, dict(zip(function.__code__.co_freevars, function.__closure__ or ())))
    functools.update_wrapper(made, function)
    return made


def _definition(function):
    """Return the function's ast.FunctionDef at its place in its file, or None."""
    try:
        lines, first = inspect.getsourcelines(function.__code__)     # of a wrapper itself
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        found = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda)]
        if function.__name__ != "<lambda>" or len(found) != 1:
            return None
        definition = ast.copy_location(ast.FunctionDef(
            name="lambda_", args=found[0].args, body=[ast.copy_location(ast.Return(found[0].body), found[0])],
            decorator_list=[], type_params=[]), found[0])
    ast.increment_lineno(tree, first - 1)
    if isinstance(tree.body[0], ast.FunctionDef) is False:
        definition.lineno = definition.end_lineno = tree.body[0].lineno
    return definition


def to_code(entity, recursive=True, experimental_optional_features=None):
    """Return the Python code that tf.function traces in the place of a function: its control flow is converted.

    Raises:
        ValueError: the function has no source, or cannot be converted (a generator, `global`, `nonlocal`).
    """
    function = inspect.unwrap(entity)
    function = getattr(function, "__func__", function)
    definition = _converted(function) if isinstance(function, types.FunctionType) else None
    if definition is None:
        raise ValueError(f"autograph.to_code expected a Python function with source, but received {entity!r:.80}.")
    return ast.unparse(ast.fix_missing_locations(definition)).replace(_OURS, "ag__") + "\n"


def to_graph(entity, recursive=True, experimental_optional_features=None):
    """Return the function with its control flow over tensors converted."""
    return convert(inspect.unwrap(entity))


def _converted(function):
    definition = _definition(function)
    if definition is None or _contains(definition.body, _REFUSED):
        return None
    definition.decorator_list, definition.returns = [], None
    for argument in [*definition.args.args, *definition.args.kwonlyargs, *definition.args.posonlyargs]:
        argument.annotation = None
    for argument in (definition.args.vararg, definition.args.kwarg):
        if argument is not None:
            argument.annotation = None
    # defaults are taken from the function; these only keep the places
    definition.args.defaults = [ast.Constant(None) for _ in definition.args.defaults]
    definition.args.kw_defaults = [d and ast.Constant(None) for d in definition.args.kw_defaults]
    definition.body = _rewritten(definition.body, _Rewriter())
    return definition


def _compile(function):
    definition = _converted(function)
    if definition is None:
        return None
    free = list(function.__code__.co_freevars)
    # closures keep working: a factory function has the free names as locals, and the cells are put in afterwards
    factory = ast.FunctionDef(
        name=f"{_OURS}factory", args=ast.arguments([], [ast.arg(n) for n in free], None, [], [], None, []),
        body=[definition, ast.Return(ast.Name(definition.name, ast.Load()))], decorator_list=[], type_params=[])
    ast.copy_location(factory, definition)
    module = ast.fix_missing_locations(ast.Module([factory], []))
    code = compile(module, function.__code__.co_filename, "exec")

    def make(original, cells):
        space = _Globals(original.__globals__)
        exec(code, space)
        made = space[f"{_OURS}factory"](*[None] * len(free))
        closure = tuple(cells.get(name) or made_cell for name, made_cell in zip(
            made.__code__.co_freevars, made.__closure__ or ()))
        result = types.FunctionType(made.__code__, space, original.__name__, original.__defaults__, closure or None)
        result.__kwdefaults__ = original.__kwdefaults__
        return result
    return make


class _Globals(dict):
    """The original module's globals, read live, with our own name added."""

    def __init__(self, original):
        super().__init__()
        self.original = original
        self["__builtins__"] = original.get("__builtins__", __builtins__)
        self["__name__"] = original.get("__name__")
        self[_OURS] = _NAMES

    def __missing__(self, key):
        return self.original[key]


_NAMES = types.SimpleNamespace(
    if_statement=converted.if_statement, if_return=converted.if_return, while_statement=converted.while_statement,
    for_statement=converted.for_statement, both=converted.both, either=converted.either, negate=converted.negate,
    assert_statement=converted.assert_statement, value_of=converted.value_of, Attribute=converted.Attribute,
    KEEP=converted.KEEP, call=converted.caller(convert))
