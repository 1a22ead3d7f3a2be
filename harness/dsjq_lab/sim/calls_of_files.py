"""What `os` and `os.path` offer of files, for the simulated process that runs and its disk."""

import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from dsjq_lab.sim.disk import Disk, Folder, Inode
from dsjq_lab.sim.files import OpenFile, die
from dsjq_lab.sim.kernel import sim

if TYPE_CHECKING:
    from dsjq_lab.sim.process import Process


class Stat(NamedTuple):
    st_mode: int
    st_size: int
    st_ino: int = 0
    st_mtime: float = 0.0


def status(node: Inode | Folder) -> Stat:
    return Stat(0o040755, 4096) if isinstance(node, Folder) else Stat(0o100644, len(node.data))


def os_calls() -> dict[str, Any]:
    """What `os` offers of files, for the process that runs."""

    def us() -> "Process":
        process = sim().operation().process
        assert process is not None
        return process

    def file(number: int) -> OpenFile:
        found = us().descriptor(number)
        if not isinstance(found, OpenFile):
            raise OSError(22, "Invalid argument")
        return found

    def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: None = None) -> int:
        process = us()
        return process.open(OpenFile(process.disk, path, flags))

    def close(number: int) -> None:
        process = us()
        process.descriptor(number).release()
        process.descriptors.pop(number, None)

    def write(number: int, data: Any) -> int:
        return file(number).write(data)

    def read(number: int, length: int) -> bytes:
        return file(number).read(length)

    def pwrite(number: int, data: Any, offset: int) -> int:
        return file(number).write(data, offset)

    def pread(number: int, length: int, offset: int) -> bytes:
        return file(number).read(length, offset)

    def lseek(number: int, offset: int, whence: int) -> int:
        return file(number).seek(offset, whence)

    def ftruncate(number: int, length: int) -> None:
        file(number).truncate(length)

    def posix_fallocate(number: int, offset: int, length: int) -> None:
        open_file = file(number)
        open_file.disk.fail_if_told("write")
        if offset + length > len(open_file.inode.data):
            if (order := open_file.due("write")) and order.do == "refuse":
                open_file.disk.tell_once(order)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            open_file.truncate(offset + length)

    def fsync(number: int) -> None:
        file(number).sync()

    def replace(source: Any, target: Any) -> None:
        disk = us().disk
        node = disk.find(source)
        folder, name = disk.place(target)
        folder.names[name] = node
        folder, name = disk.place(source)
        del folder.names[name]
        if disk.watches(target) and (order := disk.orders.due("rename")) and order.do == "die":
            die()

    def unlink(path: Any) -> None:
        disk = us().disk
        if isinstance(disk.find(path), Folder):
            raise IsADirectoryError(21, "Is a directory", str(path))
        folder, name = disk.place(path)
        del folder.names[name]

    def mkdir(path: Any, mode: int = 0o777) -> None:
        disk = us().disk
        folder, name = disk.place(path)
        if name in folder.names:
            raise FileExistsError(17, "File exists", str(path))
        folder.names[name] = Folder()

    def makedirs(path: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        disk = us().disk
        if disk.exists(path) and not exist_ok:
            raise FileExistsError(17, "File exists", str(path))
        folder = disk.root
        for name in disk.parts(path):
            node = folder.names.setdefault(name, Folder())
            if not isinstance(node, Folder):
                raise NotADirectoryError(20, "Not a directory", str(path))
            folder = node

    def rmdir(path: Any) -> None:
        disk = us().disk
        if disk.folder(path).names:
            raise OSError(39, "Directory not empty", str(path))
        folder, name = disk.place(path)
        del folder.names[name]

    def listdir(path: Any = ".") -> list[str]:
        return list(us().disk.folder(path).names)

    def stat(path: Any, *, dir_fd: None = None, follow_symlinks: bool = True) -> Stat:
        return status(us().disk.find(path))

    def fstat(number: int) -> Stat:
        return status(file(number).node)

    def flock(number: Any, how: int) -> None:
        file(number if isinstance(number, int) else number.fileno()).lock(how)

    def getcwd() -> str:
        return us().disk.home

    calls = {name: call for name, call in locals().items() if name not in ("us", "file")}
    return {**calls, "rename": replace, "remove": unlink, "fdatasync": fsync, "lstat": stat}


def path_calls() -> dict[str, Any]:
    """What `os.path` asks the disk; the rest of it computes with strings."""

    def disk() -> Disk:
        process = sim().operation().process
        assert process is not None
        return process.disk

    def exists(path: Any) -> bool:
        return disk().exists(path)

    def isfile(path: Any) -> bool:
        found = disk()
        return found.exists(path) and isinstance(found.find(path), Inode)

    def isdir(path: Any) -> bool:
        found = disk()
        return found.exists(path) and isinstance(found.find(path), Folder)

    def getsize(path: Any) -> int:
        return status(disk().find(path)).st_size

    def abspath(path: Any) -> str:
        return "/" + "/".join(disk().parts(path))

    calls = {key: value for key, value in locals().items() if key != "disk"}
    return {**calls, "lexists": exists, "realpath": abspath}
