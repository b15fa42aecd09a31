"""A page as the tests read it: a tree of elements, with its tables."""

from html.parser import HTMLParser

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Element:
    """An element of a page."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, attributes, []

    def find(self, tag, **attributes):
        """All elements below of this tag and with these attributes."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and wanted.items() <= child.attributes.items():
                    yield child
                yield from child.find(tag, **attributes)

    @property
    def text(self):
        """What it says, blanks folded."""
        parts = (c if isinstance(c, str) else c.text for c in self.children)
        return " ".join(" ".join(parts).split())


class Page(HTMLParser):
    """A page as a tree; every element must be closed, in its turn."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(self.source)
        self.close()
        assert self.open == [self.root], f"{self.open[-1].tag} is never closed"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"{tag} ends inside {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)

    def section(self, name):
        """The section called `name`, or None."""
        return next(self.root.find("section", id=name), None)

    def rows(self, name):
        """The first table of a section: a dictionary for each row."""
        table = next(self.section(name).find("table"))
        header, *body = table.find("tr")
        names = [cell.text for cell in header.find("th")]
        cells = [[c.text for c in row.children if isinstance(c, Element)] for row in body]
        return [dict(zip(names, row, strict=True)) for row in cells]
