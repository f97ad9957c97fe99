"""YAML whose values know where they stand, so that a fault names the file, the line and the key.

Values are read as Go's YAML library reads them into typed fields, because faas-cli does: a scalar asked for as text
is its source text (`1.0` stays `1.0`, `Yes` stays `Yes`), null is an empty value, and a key given twice is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

_TAG = "tag:yaml.org,2002:"
_TRUE_WORDS = {"true", "yes", "on"}
_KINDS = {"null": "nothing", "bool": "true or false", "int": "a number", "float": "a number"}


class PlacedYamlError(ValueError):
    """A file cannot be used; the message is one line that begins with file and line."""


@dataclass(frozen=True)
class Value:
    """One value of a YAML file; `path` is its dotted key."""

    node: yaml.Node
    file: str
    path: str = ""

    @property
    def line(self) -> int:
        """Counted from 1."""
        return int(self.node.start_mark.line) + 1

    @property
    def is_null(self) -> bool:
        return bool(self.node.tag == _TAG + "null")

    def fault(self, message: str) -> PlacedYamlError:
        """A fault to raise about this value; `message` goes on after its key."""
        text = f"{self.path or 'the file'} {message}"
        shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
        return PlacedYamlError(f"{self.file}:{self.line}: {shown}")

    def mapping(self) -> Keys:
        """The values by key, merge keys (`<<`) applied; null is empty, and so is a key that is not there."""
        keys = Keys(self)
        if self.is_null:
            return keys
        if not isinstance(self.node, yaml.MappingNode):
            raise self._wrong("a mapping")
        keys.update({name: self.below(name, node) for name, node in self._pairs(self.node, ())})
        return keys

    def below(self, key: str, node: yaml.Node) -> Value:
        return Value(node, self.file, f"{self.path}.{key}" if self.path else key)

    def items(self) -> list[Value]:
        """The items of a list; null is empty."""
        if self.is_null:
            return []
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._wrong("a list")
        return [Value(node, self.file, f"{self.path}[{n}]") for n, node in enumerate(self.node.value)]

    def text(self) -> str:
        """The source text of a scalar; null is empty."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self._wrong("text")
        return "" if self.is_null else str(self.node.value)

    def texts(self) -> tuple[str, ...]:
        """A list of texts, none of them empty."""
        items = self.items()
        for item in items:
            if not item.text():
                raise item.fault("must not be empty")
        return tuple(item.text() for item in items)

    def text_map(self) -> dict[str, str]:
        return {name: value.text() for name, value in self.mapping().items()}

    def flag(self) -> bool:
        """true or false in YAML's words; null is false; text in quotes is neither."""
        if self.is_null:
            return False
        if self.node.tag != _TAG + "bool":
            raise self._wrong("true or false")
        return str(self.node.value).lower() in _TRUE_WORDS

    def _wrong(self, wanted: str) -> PlacedYamlError:
        return self.fault(f"must be {wanted}, not {_kind(self.node)}")

    def _pairs(
        self, node: yaml.MappingNode, within: tuple[yaml.Node, ...]
    ) -> Iterator[tuple[str, yaml.Node]]:
        if node in within:
            raise self.fault("merges itself")
        own: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                for source in self._merge_sources(value):
                    merged = {**dict(self._pairs(source, (*within, node))), **merged}
            elif not isinstance(key, yaml.ScalarNode):
                raise Value(key, self.file, self.path).fault("has a key that is not text")
            elif key.value in own:
                raise Value(key, self.file, self.path).fault(f"has the key {key.value!r} twice")
            else:
                own[key.value] = value
        yield from {**merged, **own}.items()

    def _merge_sources(self, value: yaml.Node) -> list[yaml.MappingNode]:
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        mappings = [source for source in sources if isinstance(source, yaml.MappingNode)]
        if len(mappings) != len(sources):
            raise Value(value, self.file, self.path).fault("can only merge mappings")
        return mappings


class Keys(dict[str, Value]):
    """The keys of one mapping; one that is missing reads as null, standing where the mapping does."""

    def __init__(self, owner: Value) -> None:
        super().__init__()
        self._owner = owner

    def __missing__(self, key: str) -> Value:
        return self._owner.below(key, _nothing(self._owner.node.start_mark))


def read_yaml(text: str, file: str) -> Value:
    """Parse one YAML document; `file` is the name that faults show. An empty file is a null value.

    Raises PlacedYamlError when it is not YAML or holds more than one document.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        what = ", ".join(part for part in (exc.context, exc.problem) if part)
        raise PlacedYamlError(f"{place}: not valid YAML: {what}") from exc
    except yaml.reader.ReaderError as exc:
        place = f"{file}:{text.count(chr(10), 0, exc.position) + 1}"
        raise PlacedYamlError(
            f"{place}: not valid YAML: the character {chr(exc.character)!r} is not allowed"
        ) from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise PlacedYamlError(f"{file}: not valid YAML: {exc}") from exc
    except (ValueError, OverflowError) as exc:  # PyYAML's scanner trusts "\\UFFFFFFFF" to be a character
        raise PlacedYamlError(f"{file}: not valid YAML: an escaped character that there is not") from exc
    return Value(node if node is not None else _nothing(yaml.Mark("", 0, 0, 0, "", 0)), file)


def _nothing(mark: yaml.Mark) -> yaml.ScalarNode:
    return yaml.ScalarNode(_TAG + "null", "", mark, mark)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _KINDS.get(str(node.tag).removeprefix(_TAG), f"the text {_shortened(node.value)!r}")


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"
