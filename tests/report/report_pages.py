"""A page of the report taken apart, for the tests that read it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}


class Page(HTMLParser):
    """A page taken apart: elements with attributes, text by element, table rows; unbalanced tags raise."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[tuple[str, str]]] = []  # of each table row: class and text of its cells
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} is written twice"
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((dict(attrs).get("class", ""), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "td" in self.open or "th" in self.open:
            kind, text = self.rows[-1][-1]
            self.rows[-1][-1] = (kind, text + data)

    def values(self, attribute):
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]

    def pictures(self):
        """Alternative texts of all pictures, and None for one without."""
        found = [
            attributes.get("alt" if tag == "img" else "aria-label")
            for tag, attributes in self.elements
            if tag in ("img", "svg")
        ]
        return found

    def picture(self, name):
        """Alternative text of the picture in the figure called `name`."""
        start = next(i for i, (_, attributes) in enumerate(self.elements) if attributes.get("id") == f"figure-{name}")
        for tag, attributes in self.elements[start:]:
            if tag in ("img", "svg"):
                return attributes["alt" if tag == "img" else "aria-label"]
        raise AssertionError(f"no picture in {name}")


def captions(page):
    return {
        name: re.sub(r"\s+", " ", text)
        for name, text in re.findall(r'<figure id="figure-([^"]+)">.*?<figcaption>(.*?)</figcaption>', page, re.DOTALL)
    }
