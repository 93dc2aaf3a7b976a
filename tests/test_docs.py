"""The pages: examples print what they say, quotations and lists are true, links lead somewhere.

Blocks of one page share their names, top to bottom. A block quoted from a source file, or one
behind a comment that says why it is not run, is left out.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest

import convolite
from convolite import data

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(
    r"(?P<note><!-- (?:quote|not run)[^\n]*-->\n\n?)?"
    r"^```python\n(?P<code>.*?)^```\n"
    r"(?:\n```output\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def examples(page: Path) -> list[tuple[str, str | None]]:
    """Code and expected output of the blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    return [(m["code"], m["output"]) for m in _BLOCK.finditer(text) if m["note"] is None]


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


class FewDigits(data.ArrayDataset):
    """Takes MNIST's place in the examples: images of its size, but few and inside the package."""

    def __init__(self, train: bool = True) -> None:
        digits = data.load_digits(train)
        super().__init__(digits.images[:192], digits.labels[:192])


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=page_id)
def test_examples_run_and_print_what_the_page_says(page: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "MNIST", FewDigits)
    convolite.manual_seed(0)
    names = {"__name__": "__main__"}
    for code, expected in examples(page):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, f"{page_id(page)}: {code.splitlines()[0]}", "exec"), names)
        if expected is not None:
            assert printed.getvalue() == expected


def test_there_are_examples_with_and_without_expected_output() -> None:
    found = [output for page in PAGES for _, output in examples(page)]
    assert found.count(None) >= 3
    assert len(found) - found.count(None) >= 5


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_quotations_stand_literally_in_the_sources(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tool("quotes").refreshed(text) == text, "run python docs/tools/quotes.py"


def test_quotes_finds_a_change_in_a_quotation() -> None:
    page = (ROOT / "docs" / "from-formula-to-kernel.md").read_text(encoding="utf-8")
    changed = page.replace("grad_weight += np.outer(", "grad_weight -= np.outer(")
    assert changed != page
    assert tool("quotes").refreshed(changed) == page


def test_every_error_message_is_listed() -> None:
    errors = tool("error_list")
    text = errors.PAGE.read_text(encoding="utf-8")
    assert errors.refreshed(text) == text, "run python docs/tools/error_list.py"


def test_the_list_of_errors_has_messages_of_both_languages() -> None:
    found = {text for text, _, _ in tool("error_list").messages()}
    assert "conv2d: groups must be positive, got {groups}" in found
    assert "cat: tensors must hold at least one tensor, got none" in found
    assert len(found) > 150


def test_the_cpp_program_of_the_readme_compiles(tmp_path) -> None:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler: the installed wheel does not need one")
    program = re.search(r"^```cpp\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert program is not None
    (tmp_path / "main.cpp").write_text(program[1])
    include = ROOT / "csrc" / "include"
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{include}"]
    subprocess.run([compiler, *flags, tmp_path / "main.cpp"], check=True)


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.finditer(text):
        path, _, anchor = link["target"].partition("#")
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link["target"]
        assert not anchor or anchor in headings(target), link["target"]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_named_in_the_text_exist(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    folders = "benchmarks|cases|csrc|docs|src|tests"
    for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


def test_figures_are_what_their_script_draws(tmp_path, monkeypatch) -> None:
    script = (ROOT / "docs" / "images" / "make_figures.py").read_text(encoding="utf-8")
    names = {"__name__": "__main__", "__file__": str(tmp_path / "make_figures.py")}
    exec(compile(script, "make_figures.py", "exec"), names)
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
    assert drawn
    for name, content in drawn.items():
        assert (ROOT / "docs" / "images" / name).read_bytes() == content


def test_every_page_is_reachable_from_the_index() -> None:
    seen, frontier = set(), [ROOT / "docs" / "index.md"]
    while frontier:
        page = frontier.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in _LINK.finditer(page.read_text(encoding="utf-8")):
            target = (page.parent / link["target"].partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists():
                frontier.append(target)
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} <= seen
