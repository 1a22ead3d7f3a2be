"""What would survive a loss of power, kept beside the broker's folder.

What a killed process has written is still in the kernel's hands, and the next process reads it as if nothing
had happened: so no kill ever tests whether a broker calls fsync. Only a loss of power does. Therefore a
*platter* is kept: of each file the bytes that its last fsync found, and each name as the last fsync of its
folder found it (shim.py writes that). To lose power is to kill the broker and put the platter in the place of
the folder (`put_back`); whatever was not synced is then gone, all of it.

Standard library only: it is loaded into the broker's process.
"""

import json
import os
from operator import ne

PAGE = 4096
real_replace = os.replace  # the shim stands in for that


class Platter:
    """A folder with the durable bytes of each file, under a number, and `state.json` about the rest."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.names: dict[str, int] = {}  # those that are durable: path in the data folder -> number of a file
        self.numbers: dict[str, int] = {}  # of the files that there are, by inode
        self.count = 0
        self.blind = ""  # why it does not see all that happens to the folder
        try:
            with open(self.path("state.json")) as file:
                self.__dict__.update(json.load(file))
        except FileNotFoundError:
            os.makedirs(folder, exist_ok=True)

    def path(self, name: object) -> str:
        return os.path.join(self.folder, str(name))

    def save(self) -> None:
        state = {key: value for key, value in self.__dict__.items() if key != "folder"}
        self.replace("state.json", json.dumps(state).encode())

    def replace(self, name: object, data: bytes) -> None:
        """At once, whenever the process is killed."""
        with open(self.path("new"), "wb") as file:
            file.write(data)
        real_replace(self.path("new"), self.path(name))

    def read(self, name: object) -> bytes:
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def number(self, inode: int) -> int:
        if str(inode) not in self.numbers:
            self.count += 1
            self.numbers[str(inode)] = self.count
            self.save()
        return self.numbers[str(inode)]

    def forget(self, inode: int) -> None:
        """The kernel may give its number to another file."""
        if self.numbers.pop(str(inode), None):
            self.save()

    def keep(self, inode: int, data: bytes) -> None:
        """These bytes of a file are safe; but not those that a failed sync has lost."""
        number = self.number(inode)
        self.replace(number, survivors(data, self.read(number), self.read(f"{number}.lost")))

    def lose(self, inode: int, data: bytes) -> None:
        """A sync failed: what was to be written counts as clean from now on, and is not."""
        self.replace(f"{self.number(inode)}.lost", data)

    def keep_names(self, folder: str, inodes: dict[str, int]) -> None:
        others = {path: number for path, number in self.names.items() if os.path.dirname(path) != folder}
        self.names = others | {path: self.number(inode) for path, inode in inodes.items()}
        self.save()


def survivors(data: bytes, before: bytes, lost: bytes) -> bytes:
    """What a sync makes safe of `data`. A page that is as it was when a sync failed is not written again."""
    kept = bytearray(data)
    for at in range(0, min(len(data), len(lost)), PAGE):
        page = slice(at, at + PAGE)
        if data[page] == lost[page]:
            kept[page] = before[page][: len(data[page])].ljust(len(data[page]), b"\0")
    return bytes(kept)


def put_back(data: str, folder: str) -> int:
    """The power was lost: what is on the platter is all that there is. How many bytes and names are gone."""
    platter = Platter(folder)
    gone = 0
    for parent, _, files in os.walk(data):
        for name in files:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                there = file.read()
            number = platter.names.get(os.path.relpath(path, data))
            kept = platter.read(number) if number else b""
            gone += (number is None) + sum(map(ne, there, kept.ljust(len(there), b"\0")))
            os.unlink(path)
    platter.numbers = {}
    for name, number in platter.names.items():
        path = os.path.join(data, name)
        with open(path, "wb") as file:
            file.write(platter.read(number))
        platter.numbers[str(os.stat(path).st_ino)] = number
        if os.path.exists(platter.path(f"{number}.lost")):
            os.unlink(platter.path(f"{number}.lost"))  # nothing of it is in anybody's memory any more
    platter.save()
    return gone
