"""The journal: a file to which every entry is appended before anybody is told of it.

    file:   header  entry  entry  …  zeros
    entry:  CRC-32 of what follows · length of the body · number · synced · body

The numbers of the entries go up by one. The header is an entry too, with the number before the first. The
zeros are room: so a full disk is noticed before the last of it is used, and jobs can still be acknowledged
when new ones are refused; and a sync need not write the size of the file.

A crash may leave the end torn: of what was not synced any part may be there, even a later page without the
one before it. That is cut off, and nobody misses it, since nobody was told. But what was synced must be
there. So each entry says up to which number all was synced when it was written: when one cannot be read that
a later one calls safe, the file is damaged, and the broker refuses to start.
"""
import contextlib
import json
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from ..messages import Delivered, Record, Submitted, Touched
from ..store import StorageFull, Unusable
from .folder import clock_since, sync_names, take, this_boot
from .log import Log, stop

FORMAT = 1
HEAD = struct.Struct("<IIqq")
BODY = b"[["  # how the body of every entry begins, but for the header's
ROOM = 1 << 19  # bytes by which the file grows
RESERVE = 1 << 17  # bytes of it that are not for new jobs
LEASES = Delivered | Touched  # a lease ends with the broker, so nobody misses the record of one


def pack(number: int, synced: int, body: bytes) -> bytes:
    rest = HEAD.pack(0, len(body), number, synced)[4:] + body
    return crc32(rest).to_bytes(4, "little") + rest


def unpack(data: bytes, at: int) -> tuple[int, int, bytes, int] | None:
    """Number, synced and body of the entry that begins at `at`, and where the next begins; if it is whole."""
    try:
        crc, length, number, synced = HEAD.unpack_from(data, at)
    except struct.error:
        return None
    end = at + HEAD.size + length
    if end > len(data) or crc32(data[at + 4:end]) != crc:
        return None
    return number, synced, data[at + HEAD.size:end], end


def pack_header(first: int, last: int, epoch: int = 0, clock_s: float = 0.0, boot: str = "") -> bytes:
    """Of a file that begins its life with the entries `first` to `last`."""
    header = {"format": FORMAT, "epoch": epoch, "clock_s": clock_s, "boot": boot}
    return pack(first - 1, last, json.dumps(header).encode())


class Scan:
    """Reads a journal, or finds that there is none yet. Raises Unusable where it is damaged."""

    def __init__(self, path: Path):
        self.path = path
        self.data = path.read_bytes() if path.exists() else pack_header(first=1, last=0)
        self.number, self.synced, body, self.end = unpack(self.data, 0) or (0, 0, b"", 0)
        self.header = json.loads(body) if body.startswith(b"{") else {}
        if self.header.get("format") != FORMAT:
            raise Unusable(f"{path} is no journal of format {FORMAT}, or is damaged at byte 0")
        self.first, self.start = self.number + 1, self.end
        self.cut = 0

    def entries(self, last: int | None = None) -> Iterator[bytes]:
        """All of them, or those up to the number `last`. Afterwards `end` is where they end."""
        while self.number != last and (entry := unpack(self.data, self.end)) and entry[0] == self.number + 1:
            self.number, _, body, self.end = entry
            yield body
        if last is None:
            self._judge(self.data[self.end:])

    def _judge(self, rest: bytes) -> None:
        """Is what follows the last good entry room, a torn end, or damage?"""
        bodies = re.compile(re.escape(BODY)).finditer(rest, HEAD.size)
        later = (unpack(rest, match.start() - HEAD.size) for match in bodies)
        if max([self.synced, *(synced for _, synced, *_ in filter(None, later))]) > self.number:
            raise Unusable(f"{self.path} is damaged at byte {self.end}: entry {self.number + 1} was safe "
                           "there, and cannot be read")
        self.cut = len(rest.rstrip(b"\0"))


class Tail:
    """A new file, and the end at which it grows."""

    def __init__(self, path: Path):
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.end = self.room = 0

    def write(self, data: bytes | memoryview, spare: int = 0) -> None:
        """All of it, or nothing. Raises StorageFull, also if less than `spare` bytes of room would remain."""
        needed = self.end + len(data) + spare
        if needed > self.room:
            with contextlib.suppress(OSError):  # then the room that there is must do
                os.posix_fallocate(self.file, self.room, needed + ROOM - self.room)
                self.room = needed + ROOM
        if spare and needed > self.room:
            raise StorageFull("the disk is full: no new jobs for now, but those that are here go on")
        try:
            written = os.pwrite(self.file, data, self.end)
        except OSError:
            written = 0
        if written < len(data):
            self._undo()
            raise StorageFull("the disk is full")
        self.end += len(data)

    def _undo(self) -> None:
        try:
            os.ftruncate(self.file, self.end)
        except OSError as problem:
            stop(problem)
        self.room = self.end


class Journal(Log):
    """Raises Unusable if the folder cannot be used, StorageFull if there is no room to write it anew."""

    sync = staticmethod(os.fdatasync)

    def __init__(self, folder: Path):
        super().__init__()
        self.folder, self.path = folder, folder / "journal"
        self.lock = take(folder)
        self.scan = Scan(self.path)
        header = self.scan.header
        self.epoch, self.clock_s = header["epoch"] + 1, clock_since(header["boot"], header["clock_s"])

    def close(self) -> None:
        os.close(self.tail.file)
        self.lock.close()

    def _entries(self, last: int | None) -> Iterator[bytes]:
        if last is not None:
            self.scan = Scan(self.path)
        return self.scan.entries(last)

    def _begin(self) -> None:
        self.appended = self.durable = self.scan.number
        self.cut = self.scan.cut
        with self._new(self.scan.first, self.scan.number) as self.tail:
            self.tail.write(memoryview(self.scan.data)[self.scan.start:self.scan.end])
        self._name()
        del self.scan

    def _append(self, entry: bytes, records: list[Record]) -> int:
        spare = RESERVE if any(isinstance(record, Submitted) for record in records) else 0
        self.tail.write(pack(self.appended + 1, self.durable, entry), spare)
        self.appended += 1
        return 0 if all(isinstance(record, LEASES) for record in records) else self.appended

    def _sync(self) -> None:
        self.sync(self.tail.file)

    def _replace(self, entries: list[bytes], last: int) -> None:
        first, replaced = last - len(entries) + 1, self.scan.end
        del self.scan
        with self._new(first, last) as new:
            for number, entry in enumerate(entries, first):
                new.write(pack(number, last, entry))
            self.sync(new.file)  # most of it is safe before anybody must wait
            with self.turn:
                while self.leading:
                    self.turn.wait()
                old = self.tail
                new.write(os.pread(old.file, old.end - replaced, replaced))  # what came meanwhile
                self.tail = new
                self._lead(self._name)
        os.close(old.file)

    @contextlib.contextmanager
    def _new(self, first: int, last: int) -> Iterator[Tail]:
        """A new file with a header. It does not count before it has the right name."""
        path = self.folder / "journal.new"
        new = Tail(path)
        try:
            new.write(pack_header(first, last, self.epoch, self.clock_s, this_boot()))
            yield new
        except StorageFull:
            os.close(new.file)
            path.unlink()
            raise

    def _name(self) -> None:
        """Make the new file the journal, and safe."""
        self._sync()
        os.replace(self.folder / "journal.new", self.path)
        sync_names(self.folder)
