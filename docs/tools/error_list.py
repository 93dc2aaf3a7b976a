"""Collects every error message of the sources for docs/errors.md.

`python docs/tools/error_list.py` writes the list between the page's two markers anew;
tests/test_docs.py checks that this would change nothing. In Python a message is the text of a
`raise`, in C++ the arguments of `fail`, `fail_type` or a thrown `std::runtime_error`. What is
inserted at run time stands in braces under its name in the source.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "errors.md"
BEGIN, END = "<!-- list: begin -->\n", "<!-- list: end -->\n"
SHARED, OTHERS = "Every operation", "Others"

_CALLS = {
    "fail": "ValueError",
    "fail_type": "TypeError",
    "std::runtime_error": "RuntimeError",
}
_CALL = re.compile(r"(?<![\w:])(fail|fail_type|std::runtime_error)\(")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')

_KINDS = {"error": "TypeError or ValueError", "ArgumentTypeError": "command line, status 2"}

Message = tuple[str, str, str]  # text, kind of exception, part of the house


def messages() -> set[Message]:
    """Return every message of the package and of the C++ library."""
    found: set[Message] = set()
    for path in sorted((ROOT / "src" / "convolite").rglob("*.py")):
        inside = path.relative_to(ROOT / "src").with_suffix("").parts[:2]
        area = SHARED if inside[-1].startswith("_") else ".".join(inside)
        texts = _python_messages(ast.parse(path.read_text(encoding="utf-8")))
        found.update((text, _KINDS.get(kind, kind), area) for text, kind in texts)
    for folder in ("csrc/include", "csrc/src", "csrc/python"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                texts = _cpp_messages(path.read_text(encoding="utf-8"))
                found.update((text, kind, _operation(path)) for text, kind in texts)
    return found


def _operation(path: Path) -> str:
    """The operation that a C++ file belongs to."""
    if path.parent.parent.name == "ops":
        return path.parent.name
    stem = path.stem.removeprefix("bind_")
    return SHARED if stem in ("arrays", "error") else stem


def refreshed(page: str) -> str:
    """Return the page's text with the list taken anew from the sources."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_listing()}\n{END}{after}"


def _listing() -> str:
    groups: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for text, kind, area in messages():
        name = re.match(r"([A-Za-z]\w*)(?:\.(?!json)\w+)?: ", text)
        groups[name[1] if name else area].add((text, kind))
    for name in [name for name, group in groups.items() if len(group) == 1]:
        groups[OTHERS] |= groups.pop(name)
    order = sorted(groups, key=lambda name: (name != SHARED, name == OTHERS, name.lower(), name))
    return "\n".join(
        f"### {name}\n\n"
        + "".join(f"- {_code(text)} ({kind})\n" for text, kind in sorted(groups[name]))
        for name in order
    )


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _python_messages(module: ast.Module) -> Iterator[Message]:
    constants = {
        target.id: statement.value
        for statement in module.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        argument = node.exc.args[0]
        if isinstance(argument, ast.Name):
            argument = constants.get(argument.id, argument)
        text = " ".join(_python_text(argument).split())
        kind = ast.unparse(node.exc.func).rsplit(".", 1)[-1]
        if " " in text and kind != "AttributeError":
            yield text, kind


def _python_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_python_text, node.values))
    if isinstance(node, ast.FormattedValue):
        return f"{{{_short(ast.unparse(node.value))}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _python_text(node.left) + _python_text(node.right)
    return f"{{{_short(ast.unparse(node))}}}"


def _cpp_messages(source: str) -> Iterator[Message]:
    constants = dict(re.findall(r'constexpr const char\* (\w+) = "([^"]*)";', source))
    for call in _CALL.finditer(source):
        parts = _arguments(source, call.end())
        text = "".join(_cpp_text(part, constants) for part in parts)
        if " " in text and not source[: call.start()].rstrip().endswith(("void", "auto")):
            yield text, _CALLS[call[1]]


def _arguments(source: str, start: int) -> list[str]:
    """What a call's text is put together from: its arguments, texts also cut at plus signs."""
    parts = []
    for argument in _cut(source, start, ","):
        has_text = _LITERAL.search(argument) or "std::string(" in argument
        parts += _cut(argument + ")", 0, "+") if has_text else [argument]
    return parts


def _cut(source: str, start: int, separator: str) -> list[str]:
    """Cut up to the bracket that closes the call, at separators outside of brackets and texts."""
    parts, depth, begin, i = [], 0, start, start
    while depth >= 0:
        literal = _LITERAL.match(source, i)
        if literal:
            i = literal.end()
            continue
        depth += (source[i] in "([{") - (source[i] in ")]}")
        if depth < 0 or (depth == 0 and source[i] == separator):
            parts.append(source[begin:i].strip())
            begin = i + 1
        i += 1
    return [part for part in parts if part]


def _cpp_text(part: str, constants: dict[str, str]) -> str:
    wrapped = re.fullmatch(r"std::string\((.*)\)", part, re.DOTALL)
    part = wrapped[1] if wrapped else part
    literals = _LITERAL.findall(part)
    if literals and not _LITERAL.sub("", part).strip():
        return "".join(literals).replace('\\"', '"')
    return constants.get(part, f"{{{_short(part)}}}")


def _short(expression: str) -> str:
    """An expression as a name that a reader understands."""
    expression = " ".join(expression.split())
    if "py::dtype::of<T>" in expression:
        return "dtype"
    expression = re.sub(r"type\((\w+)\)\.__name__", r"type of \1", expression)
    for wrapper in ("shape_text", "tuple", "str", "list", "dtype_name"):
        inner = re.fullmatch(rf"{wrapper}\((.*)\)", expression)
        expression = inner[1] if inner else expression
    return re.sub(r"\(\)|\bself\.|\b_(?!_)", "", expression)


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
