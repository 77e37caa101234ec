# SPDX-License-Identifier: Apache-2.0
"""Texts in attributes of HDF5 files, read from the bytes themselves.

The HDF5 library copies a text for each reference to it before anybody can ask how long all of them are: a small file
can ask for gigabytes. Here the lengths are added up first. Format: docs.hdfgroup.org, "HDF5 File Format Specification".
"""
import h5py

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10


def _number(data, start, size):
    return int.from_bytes(data[start:start + size], "little")


class Texts:
    """Reads texts of variable length.

    Args:
        stream: the file.
        file_bytes: its size.
    """

    def __init__(self, stream, file_bytes):
        self.stream, self.file_bytes = stream, file_bytes
        self._heaps: dict = {}      # address of a global heap -> {index: (start, size)}

    def _read(self, start, size):
        if start < 0 or size < 0 or start + size > self.file_bytes:
            raise ValueError("an address outside the file")
        self.stream.seek(start)
        found = self.stream.read(size)
        if len(found) != size:
            raise ValueError("the file ends too early")
        return found

    def of(self, group_id, name, count):
        """Return the `count` texts of an attribute of a group.

        Raises:
            ValueError: the structure is damaged, or the texts together are longer than the file.
        """
        raw = self._attribute(h5py.h5o.get_info(group_id).addr, name.encode())
        if raw is None or len(raw) < 16 * count:
            raise ValueError("its texts cannot be found")
        references = [(_number(raw, 16 * k, 4), _number(raw, 16 * k + 4, 8), _number(raw, 16 * k + 12, 4))
                      for k in range(count)]
        if sum(length for length, _, _ in references) > self.file_bytes:
            raise ValueError("its texts are longer than the file")
        return [self._text(*reference) for reference in references]

    def _text(self, length, address, index):
        if length == 0:
            return ""
        start, size = self._heap(address).get(index, (0, 0))
        if length > size:
            raise ValueError("a text ends outside its place")
        return self._read(start, length).split(b"\0")[0].decode()

    def _heap(self, address):
        found = self._heaps.get(address)
        if found is None:
            head = self._read(address, 16)
            if head[:4] != b"GCOL":
                raise ValueError("no heap where one should be")
            end, at = address + _number(head, 8, 8), address + 16
            found = self._heaps[address] = {}
            while at + 16 <= min(end, self.file_bytes):
                entry = self._read(at, 16)
                index, size = _number(entry, 0, 2), _number(entry, 8, 8)
                if index == 0:
                    break
                found[index] = (at + 16, size)
                at += 16 + -(-size // 8) * 8
        return found

    def _attribute(self, address, wanted):
        """Return the raw value of an attribute in the object header at `address`, or None."""
        for kind, body in self._messages(address):
            if kind != _ATTRIBUTE:
                continue
            version = body[0]
            sizes = [_number(body, at, 2) for at in (2, 4, 6)]      # of name, type and shape
            at = 9 if version >= 3 else 8
            parts = []
            for size in sizes:
                parts.append(body[at:at + size])
                at += -(-size // 8) * 8 if version == 1 else size
            if parts[0].rstrip(b"\0") == wanted:
                return body[at:]
        return None

    def _messages(self, address):
        """Yield (type, body) of the messages of an object header, continuation blocks included."""
        head = self._read(address, min(32, self.file_bytes - address))
        modern = head[:4] == b"OHDR"
        if modern:
            flags = head[5]
            at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            start, size = at + width, _number(self._read(address + at, width), 0, width)
            blocks, prefix = [(address + start, size)], 6 if flags & 4 else 4
        elif head[0] == 1:
            blocks, prefix = [(address + 16, _number(head, 8, 4))], 8
        else:
            raise ValueError("an object without a header")
        seen = set()
        while blocks:
            start, size = blocks.pop()
            if start in seen:
                raise ValueError("a header that continues in itself")
            seen.add(start)
            data, at = self._read(start, size), 0
            while at + prefix <= len(data):
                kind, length = (data[at], _number(data, at + 1, 2)) if modern else (_number(data, at, 2),
                                                                                      _number(data, at + 2, 2))
                body = data[at + prefix:at + prefix + length]
                at += prefix + length
                if kind == _CONTINUATION and len(body) >= 16:
                    where, many = _number(body, 0, 8), _number(body, 8, 8)
                    blocks.append((where + 4, many - 8) if modern else (where, many))
                elif len(body) == length and (kind or length):
                    yield kind, body
