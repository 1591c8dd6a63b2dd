"""Links of the pages lead somewhere, and what else names a page or a file names one that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
#: Where else a page of docs/ is named, with what is at hand of the checkout.
SOURCES = sorted(
    path
    for pattern in ("*.yml", "Makefile", "deploy/**/*", "examples/**/*", "benchmarks/*.py")
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix not in (".json", ".pyc")
) + sorted(
    path
    for folder in ("shared", "kernels", "services", "cli")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_can_be_come_to_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        ahead += [path for path in targets if path in PAGES and path not in seen]
    assert set(PAGES) - seen == set()


def test_what_names_a_page_or_a_part_of_it_names_one_that_there_is() -> None:
    for source in SOURCES:
        for name, anchor in re.findall(
            r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?", source.read_text(encoding="utf-8")
        ):
            page = ROOT / "docs" / name
            assert page.is_file(), (source, name)
            assert not anchor or anchor in anchors(page), (source, name, anchor)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_checkout_that_a_page_names_is_there(page: Path) -> None:
    folders = "benchmarks|cli|deploy|docs|examples|kernels|models|services|shared|tests"
    for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path


def links(page: Path) -> Iterator[str]:
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    for inline in (child for token in tokens for child in token.children or ()):
        target = inline.attrGet("href") if inline.type == "link_open" else inline.attrGet("src")
        if target:
            yield str(target)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of its headings, as GitHub makes them."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    plain = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    assert len(set(plain)) == len(plain), f"{page} has a heading twice"
    return frozenset(plain)
