"""Keeps the source code that the pages quote literally equal to the sources.

A quotation is a comment followed by a fenced block, which this script fills:

    <!-- quote: src/convolite/reference/linear.py | linear_backward_input -->
    <!-- quote: csrc/src/gemm/gemm.cpp | void multiply_block( -->
    <!-- quote: csrc/src/gemm/gemm.cpp | const Index depth = | set_epilogue( -->

For Python, one name: that function or class, without its docstring. Otherwise the only line that
begins with the first text, up to the next line that contains the second, or without a second to
the closing brace at the same indentation. `python docs/tools/quotes.py` writes the pages anew;
tests/test_docs.py checks that this would change nothing.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
_QUOTE = re.compile(r"(<!-- quote: ([^\n]+?) -->\n)(?:\n?```\w*\n.*?\n```\n)?", re.DOTALL)
_LANGUAGES = {".py": "python", ".cpp": "cpp", ".h": "cpp", ".inl": "cpp", ".cmake": "cmake"}


class QuoteError(ValueError):
    """A quotation names something that is not in its source, or not exactly once."""


def pages() -> list[Path]:
    """Return every page that may hold quotations."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def refreshed(text: str) -> str:
    """Return a page's text with every quotation taken anew from its source."""
    return _QUOTE.sub(lambda match: match[1] + "\n" + _block(match[2]), text)


def _block(reference: str) -> str:
    path, *anchors = (part.strip() for part in reference.split("|"))
    source = ROOT / path
    lines = source.read_text(encoding="utf-8").splitlines()
    if source.suffix == ".py" and len(anchors) == 1:
        quoted = _python_definition(lines, anchors[0], path)
    else:
        quoted = _lines_between(lines, anchors, path)
    code = dedent("\n".join(quoted)).rstrip()
    comment = "#" if source.suffix in (".py", ".cmake", ".txt") else "//"
    language = _LANGUAGES.get(source.suffix, "text")
    return f"```{language}\n{comment} {path}\n{code}\n```\n"


def _python_definition(lines: list[str], name: str, path: str) -> list[str]:
    """The definition called `name`, or `Class.method`, without its docstring."""
    scope: ast.AST = ast.parse("\n".join(lines))
    for part in name.split("."):
        found = [node for node in ast.iter_child_nodes(scope) if getattr(node, "name", "") == part]
        if len(found) != 1:
            raise QuoteError(f"{path}: {len(found)} definitions of {name}")
        scope = found[0]
    assert isinstance(scope, (ast.FunctionDef, ast.ClassDef))
    first = min([scope.lineno, *(decorator.lineno for decorator in scope.decorator_list)])
    kept = lines[first - 1 : scope.end_lineno]
    if ast.get_docstring(scope) is not None:
        docstring = scope.body[0]
        assert docstring.end_lineno is not None
        body = docstring.end_lineno - first + 1
        while not kept[body].strip():
            body += 1
        del kept[docstring.lineno - first : body]
    return kept


def _lines_between(lines: list[str], anchors: list[str], path: str) -> list[str]:
    begin, *rest = anchors
    starts = [i for i, line in enumerate(lines) if line.lstrip().startswith(begin)]
    if len(starts) != 1:
        raise QuoteError(f"{path}: {len(starts)} lines begin with {begin!r}")
    start = starts[0]
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    for i in range(start, len(lines)):
        ends = rest[0] in lines[i] if rest else lines[i].startswith(f"{indent}}}")
        if ends:
            return lines[start : i + 1]
    raise QuoteError(f"{path}: no end found for {begin!r}")


if __name__ == "__main__":
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = refreshed(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"refreshed {page.relative_to(ROOT)}")
