"""The package's own source, shown on a page: text and code cannot part."""

import ast
import inspect
import textwrap


class Source(str):
    """Python source that a notebook shows with colours, and that is compared as text."""

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```"

    def __repr__(self) -> str:
        return str(self)


def show_source(thing) -> Source:
    """Give the source of a function, method or class as it stands, without its docstrings.

    Raises:
        TypeError: `thing` has no Python source.
    """
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        body = getattr(node, "body", None)
        if isinstance(body, list) and isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for statement in body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    lines[statement.lineno - 1 : statement.end_lineno] = [None] * _height(statement)
    text = "\n".join(line for line in lines if line is not None)
    return Source(text.strip())


def _height(node: ast.stmt) -> int:
    return node.end_lineno - node.lineno + 1
