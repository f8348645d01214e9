"""The source on a page is the package's own."""

import ast
import inspect

import pytest

from deeper import LinearGaussian
from drawing import show_source
from vae_core import elbo, gaussian_kl, reparameterize


@pytest.mark.parametrize(
    "thing", [gaussian_kl, elbo, reparameterize, LinearGaussian, LinearGaussian.posterior]
)
def test_source_is_the_code_without_its_docstrings(thing):
    shown = show_source(thing)
    assert '"""' not in shown and "`[" not in shown and repr(shown) == str(shown)
    whole = ast.parse(inspect.cleandoc("\n" + inspect.getsource(thing)))
    for node in ast.walk(whole):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.body = [
                s
                for s in node.body
                if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
            ]
    assert ast.dump(ast.parse(shown)) == ast.dump(whole)
    assert shown._repr_markdown_() == f"```python\n{shown}\n```"


def test_comments_stay():
    assert "# [K, B] -> [B]" in show_source(elbo)


def test_what_has_no_source_is_refused():
    with pytest.raises(TypeError):
        show_source(len)
