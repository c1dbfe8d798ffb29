"""A writer of compound files (OLE, MS-CFB version 3) for the tests: what Outlook's messages and old Office files are in."""

import struct
from itertools import pairwise

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_NONE = 0xFFFFFFFF
_SECTOR, _MINI, _CUTOFF = 512, 64, 4096
Tree = dict[str, "bytes | Tree"]  # type: ignore[misc]


class _Entry:
    def __init__(self, name: str, kind: int) -> None:
        self.name, self.kind = name, kind
        self.left = self.right = self.child = _NONE
        self.start, self.size = _END, 0

    def packed(self) -> bytes:
        name = self.name.encode("utf-16-le") + b"\0\0"
        head = name.ljust(64, b"\0") + struct.pack("<HBB", len(name) if self.name else 0, self.kind, 1)
        head += struct.pack("<3I", self.left, self.right, self.child) + bytes(36)
        return head + struct.pack("<IQ", self.start, self.size)


def _chain(table: list[int], count: int) -> int:
    """Room for `count` sectors at the end of a table -> the first one's number."""
    first = len(table)
    table += [*range(first + 1, first + count), _END]
    return first


def compound(tree: Tree) -> bytes:
    """Streams by name; a dictionary is a storage."""
    entries = [_Entry("Root Entry", 5)]
    fat: list[int] = []
    mini_fat: list[int] = []
    sectors, mini = bytearray(), bytearray()

    def fill(parent: _Entry, inner: Tree) -> None:
        made: list[_Entry] = []
        for name, content in inner.items():
            entry = _Entry(name, 1 if isinstance(content, dict) else 2)
            entries.append(entry)
            made.append(entry)
            if isinstance(content, dict):
                fill(entry, content)
                continue
            entry.size = len(content)
            small = len(content) < _CUTOFF
            unit, table, store = (_MINI, mini_fat, mini) if small else (_SECTOR, fat, sectors)
            if content:
                entry.start = _chain(table, -(-len(content) // unit))
                store += content + bytes(-len(content) % unit)
        made.sort(key=lambda each: (len(each.name), each.name.upper()))  # the order that the format asks of a search tree
        for one, after in pairwise(made):
            one.right = entries.index(after)
        parent.child = entries.index(made[0]) if made else _NONE

    fill(entries[0], tree)
    if mini:
        entries[0].start, entries[0].size = _chain(fat, -(-len(mini) // _SECTOR)), len(mini)
        sectors += mini + bytes(-len(mini) % _SECTOR)
    mini_table = b"".join(struct.pack("<I", each) for each in mini_fat)
    mini_start, mini_count = _END, -(-len(mini_table) // _SECTOR)
    if mini_table:
        mini_start = _chain(fat, mini_count)
        sectors += mini_table.ljust(mini_count * _SECTOR, b"\xff")
    while len(entries) % 4:
        entries.append(_Entry("", 0))
    listed = b"".join(entry.packed() for entry in entries)
    directory = _chain(fat, len(listed) // _SECTOR)
    sectors += listed
    count = 1
    while (len(fat) + count) * 4 > count * _SECTOR:
        count += 1
    assert count <= 109, "the file is too large for this writer"
    places = list(range(len(fat), len(fat) + count))
    fat += [_FAT] * count
    sectors += b"".join(struct.pack("<I", each) for each in fat).ljust(count * _SECTOR, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<9I", 0, count, directory, 0, _CUTOFF, mini_start, mini_count, _END, 0)
    return header + struct.pack("<109I", *places, *[_FREE] * (109 - count)) + sectors


def _properties(texts: dict[int, str], head: int) -> Tree:
    """A property stream and a stream for each text (MS-OXMSG 2.4)."""
    tree: Tree = {}
    stream = bytes(head)
    for identity, text in texts.items():
        content = text.encode("utf-16-le")
        tree[f"__substg1.0_{identity:04X}001F"] = content
        stream += struct.pack("<HHIII", 0x001F, identity, 6, len(content) + 2, 0)
    return {"__properties_version1.0": stream, **tree}


def outlook(subject: str, body: str, *, attached: str = "") -> bytes:
    """A message as Outlook saves it."""
    return compound(outlook_tree(subject, body, attached=attached))


def outlook_tree(subject: str, body: str, *, sender: str = "Ana", to: str = "bo@example.org", attached: str = "") -> Tree:
    """What such a message is made of."""
    tree = _properties({0x0037: subject, 0x0C1A: sender, 0x0C1F: "ana@example.org", 0x1000: body, 0x001A: "IPM.Note"}, 32)
    tree["__recip_version1.0_#00000000"] = _properties({0x3001: "Bo", 0x39FE: to}, 8)
    if attached:
        tree["__attach_version1.0_#00000000"] = _properties({0x3707: attached}, 8)
    return tree
