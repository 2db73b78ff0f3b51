"""Templates of charts, run within limits: their text with a chart's values put in.

What `helm_language` reads, with the functions of `helm_functions`, `include`, `tpl` and `required`. What is not known,
and what Helm would refuse, stops the template; the message says on which line and by what.

Source: Go text/template; Helm 3, "Chart Template Guide".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .helm_functions import FUNCTIONS
from .helm_language import MAX_NESTED, Command, Operand, Pipeline, Statement, Templates, on_line
from .helm_values import NotRendered, Unseen, Value, bounded, shown, truth

MAX_STEPS = 200_000
"""Statements and calls of one template, its includes included."""
WHOLE = {"toYaml": 0, "toJson": 0, "merge": 500, "mergeOverwrite": 500, "deepCopy": 500}
"""Functions that look at the whole of a value, with the steps that they count for at least."""
WORK = 200
"""Characters or items that a function takes for one step."""
MAX_OUTPUT = 4 << 20
"""Characters of one rendered template."""


class _Break(Exception):
    """A loop ends."""


class _Continue(Exception):
    """A loop goes on with the next item."""


class Run:
    """One template as it is rendered.

    Args:
        templates: the named templates.
        root: what the dot and `$` are at first.
    """

    def __init__(self, templates: Templates, root: Value) -> None:
        self.templates = templates
        self.root = root
        self.steps = self.written = self.depth = 0
        self.dot: Value = root
        self.variables: list[tuple[str, Value]] = [("$", root)]
        self.out: list[str] = []

    def render(self, body: list[Statement]) -> str:
        """Return the template's text.

        Raises:
            NotRendered: it does something that is not known here, that Helm refuses, or too much.
        """
        try:
            self._run(body)
        except (_Break, _Continue):
            raise NotRendered("break or continue outside of a loop") from None
        except RecursionError:
            raise NotRendered("nested too deep") from None
        return "".join(self.out)

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise NotRendered(f"more than {MAX_STEPS} steps")

    def _write(self, text: str) -> None:
        self.written += len(text)
        if self.written > MAX_OUTPUT:
            raise NotRendered(f"more than {MAX_OUTPUT} characters")
        self.out.append(text)

    def _run(self, body: list[Statement]) -> None:
        for statement in body:
            self._step()
            try:
                self._statement(statement)
            except NotRendered as error:
                raise on_line(error, statement.line) from None

    def _statement(self, statement: Statement) -> None:
        kind, pipeline = statement.kind, statement.pipeline
        if kind == "text":
            self._write(statement.text)
        elif kind == "break":
            raise _Break
        elif kind == "continue":
            raise _Continue
        elif kind == "template":
            self._write(self.include(statement.text, self.value(pipeline) if pipeline else None))
        elif pipeline is None:
            raise NotRendered("a value is missing")
        elif kind == "action":
            value = self.value(pipeline)
            self._write("" if pipeline.names else _printed(value, pipeline))
        else:
            kept, known = self.dot, len(self.variables)
            try:
                self._block(kind, statement, pipeline)
            finally:
                self.dot = kept
                del self.variables[known:]

    def _block(self, kind: str, statement: Statement, pipeline: Pipeline) -> None:
        if kind == "range":
            value = self.value(pipeline._replace(names=()))
            known = len(self.variables)
            empty = True
            for key, item in _items(value):
                empty = False
                self._step()
                del self.variables[known:]
                self._set(pipeline, [key, item] if len(pipeline.names) > 1 else [item])
                self.dot = item
                try:
                    self._run(statement.body)
                except _Continue:
                    continue
                except _Break:
                    break
            if empty:
                self._run(statement.other)
            return
        value = self.value(pipeline)
        if truth(value):
            self.dot = value if kind == "with" else self.dot
            self._run(statement.body)
        else:
            self._run(statement.other)

    def _set(self, pipeline: Pipeline, values: Sequence[Value]) -> None:
        for name, value in zip(pipeline.names, values, strict=False):
            if pipeline.declares:
                self.variables.append((name, value))
            else:
                self.variables[self._place(name)] = name, value

    def _place(self, name: str) -> int:
        for at in range(len(self.variables) - 1, -1, -1):
            self.steps += 1
            if self.variables[at][0] == name:
                return at
        raise NotRendered(f"{name} is not known")

    def value(self, pipeline: Pipeline) -> Value:
        """Return what a pipeline comes to; variables that it names are set to it."""
        value = self._commands(pipeline.commands)
        self._set(pipeline, [value] * len(pipeline.names))
        return value

    def _commands(self, commands: list[Command]) -> Value:
        value = self._command(commands[0], ())
        for command in commands[1:]:
            value = self._command(command, (value,))
        return value

    def _command(self, command: Command, last: tuple[Value, ...]) -> Value:
        self._step()
        first, arguments = command[0], command[1:]
        if first.kind == "function":
            if first.value in ("and", "or"):
                return self._shortest(first.value == "and", arguments, last)
            return self.call(first.value, [*(self._operand(argument) for argument in arguments), *last])
        value = self._operand(first)
        if callable(value):
            return value(*(self._operand(argument) for argument in arguments), *last)
        if arguments or last:
            raise NotRendered("arguments for what is no function")
        return value

    def _shortest(self, every: bool, arguments: Sequence[Operand], last: tuple[Value, ...]) -> Value:
        value: Value = None
        for argument in arguments:
            value = self._operand(argument)
            if truth(value) != every:
                return value
        return last[0] if last else value

    def _operand(self, operand: Operand) -> Value:
        kind = operand.kind
        if kind == "constant":
            return operand.value
        if kind == "function":
            return self.call(operand.value, [])
        if kind == "pipeline":
            value = self._commands(operand.value)
        elif kind == "variable":
            value = self.variables[self._place(operand.value)][1]
        else:
            value = self.dot
        return _field(value, operand.fields)

    def call(self, name: str, arguments: list[Value]) -> Value:
        """Return what a function gives for arguments."""
        own: dict[str, Callable[..., Value]] = {"include": self.include, "tpl": self.template, "required": _required}
        function = own.get(name, FUNCTIONS.get(name))
        if function is None:
            raise NotRendered(f"the function {name} is not known here")
        if any(isinstance(argument, Unseen) for argument in arguments):
            raise NotRendered("something that is not known here")
        work = 2 if name.startswith("from") else WORK
        self.steps += sum(len(argument) // work for argument in arguments if isinstance(argument, str | list | dict))
        self._step()
        try:
            value = function(*arguments)
        except NotRendered as error:
            raise error if name in ("include", "tpl") else NotRendered(f"{name}: {error}") from None
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
            raise NotRendered(f"{name}: it cannot have these arguments") from None
        if name in WHOLE:
            self.steps += WHOLE[name] if not isinstance(value, str) else len(value) // 5
        return bounded(value) if isinstance(value, str) else value

    def include(self, name: Value, dot: Value) -> str:
        """Return a named template's text, with another dot."""
        body = self.templates.named.get(name) if isinstance(name, str) else None
        if body is None:
            raise NotRendered(f"the template {name!r:.60} is not known")
        return self._apart(body, dot)

    def template(self, source: Value, dot: Value) -> str:
        """Return what a text that is a template itself renders to."""
        if not isinstance(source, str):
            raise NotRendered("a text is wanted")
        self.steps += len(source) // 100
        return self._apart(self.templates.read(source), dot) if "{{" in source else source

    def _apart(self, body: list[Statement], dot: Value) -> str:
        if self.depth >= MAX_NESTED:
            raise NotRendered(f"templates in one another, deeper than {MAX_NESTED}")
        kept = self.dot, self.variables, self.out
        self.dot, self.variables, self.out = dot, [("$", dot)], []
        self.depth += 1
        try:
            self._run(body)
            return "".join(self.out)
        finally:
            self.depth -= 1
            self.dot, self.variables, self.out = kept


def _required(text: str, value: Value) -> Value:
    if value is None or value == "":
        raise NotRendered(f"the chart refuses its default values: {text:.100}")
    return value


def _field(value: Value, names: Sequence[str]) -> Value:
    for at, name in enumerate(names):
        if isinstance(value, Unseen):
            raise NotRendered(f"{value.name} is not known here")
        if value is None:
            raise NotRendered(f".{'.'.join(names[:at])} has no default")
        if not isinstance(value, dict):
            raise NotRendered(f".{'.'.join(names[:at])} has no fields")
        value = value.get(name)
    if isinstance(value, Unseen):
        raise NotRendered(f"{value.name} is not known here")
    return value


def _printed(value: Value, pipeline: Pipeline) -> str:
    try:
        return shown(value)
    except NotRendered as error:
        first = pipeline.commands[-1][0]
        name = f".{'.'.join(first.fields)}" if first.fields else str(first.value)
        raise NotRendered(f"{name} is {error}") from None


def _items(value: Value) -> Iterator[tuple[Value, Value]]:
    if value is None:
        return
    if isinstance(value, dict):
        yield from ((key, value[key]) for key in sorted(value))
    elif isinstance(value, list):
        yield from enumerate(list(value))
    else:
        raise NotRendered("a loop over what is no list")
