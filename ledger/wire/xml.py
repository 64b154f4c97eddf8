"""Reads XML that comes from outside: without a document type or entities, and not too deep."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from ledger.wire.errors import FieldError

DEPTH_MAX = 64
TEXT_CHARS_MAX = 1_000


@dataclass(slots=True)
class Element:
    """A tag by its local name, its text and children."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def each(self, path: str) -> Iterator["Element"]:
        """Every element behind a path of tags, in the order of the document."""
        first, _, rest = path.partition("/")
        for child in self.children:
            if child.tag == first:
                yield from child.each(rest) if rest else (child,)

    def say(self, *paths: str) -> str:
        """The text behind the first of these paths that has one, in one line; else nothing."""
        for path in paths:
            for element in self.each(path):
                if text := " ".join(element.text.split())[:TEXT_CHARS_MAX]:
                    return text
        return ""

    def walk(self) -> Iterator["Element"]:
        """It and everything in it."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse_xml(content: bytes) -> Element:
    """The outermost element, tags by their local names; FieldError says why it is none."""
    top = Element("", {})
    open_tags = [top]
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_tags) > DEPTH_MAX:
            raise FieldError(f"send XML of at most {DEPTH_MAX} levels")
        element = Element(tag.rpartition(" ")[2], attributes)
        open_tags[-1].children.append(element)
        open_tags.append(element)

    def refuse(*_: object) -> None:
        raise FieldError("send XML without a document type and without entities")

    def say(text: str) -> None:
        open_tags[-1].text += text

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_tags.pop()
    parser.CharacterDataHandler = say
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise FieldError(f"send XML that can be read: {error}") from error
    return top.children[0]
