"""Who may come in: a file of users, and certificates for a lab of one's own.

A secret is kept as its scrypt hash (RFC 7914), one user a line: `name role salt hash`. Whoever reads the file
cannot log in with it, and may still guess, so it is for its owner's eyes alone. A secret comes from the
environment, a file or the keyboard, never from the command line, which every user of a machine can read.
"""
import hashlib
import hmac
import os
import secrets
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from ..store import Unusable

ROLES = ("producer", "worker", "admin")
SCRYPT = {"n": 2**14, "r": 8, "p": 1}  # 16 MiB and some 50 ms for each guess
HASHING_MAX = 2  # guesses at a time, so that strangers cannot take all the processors
DAYS = "365"


class User(NamedTuple):
    name: str
    role: str
    salt: bytes
    hash: bytes


NOBODY = User("", "", bytes(16), bytes(64))


class Users:
    """The users of one file. Raises Unusable if others may read it, or if it holds anything else."""

    def __init__(self, path: Path):
        self.path, self.users = path, dict[str, User]()
        self.turn = threading.BoundedSemaphore(HASHING_MAX)
        try:
            if path.stat().st_mode & 0o077:
                raise Unusable(f"{path} can be read by others; chmod 600 {path}")
            lines = path.read_text().splitlines()
        except OSError as problem:
            raise Unusable(f"{path}: {problem.strerror}; `dsjq user add` makes one") from None
        for number, line in enumerate(lines, 1):
            try:
                name, role, salt, hash = line.split(" ")
                self.users[name] = User(name, role, bytes.fromhex(salt), bytes.fromhex(hash))
            except ValueError:
                raise Unusable(f"{path}:{number}: not `name role salt hash`") from None

    def role(self, name: str, secret: str) -> str:
        """The user's role; empty if there is no such user, or with another secret, which takes as long."""
        user = self.users.get(name, NOBODY)
        with self.turn:
            right = hmac.compare_digest(_hash(secret, user.salt), user.hash)
        return user.role if right else ""

    def put(self, name: str, role: str, secret: str) -> None:
        salt = secrets.token_bytes(16)
        self.users[name] = User(name, role, salt, _hash(secret, salt))
        self._save()

    def remove(self, name: str) -> None:
        """Raises KeyError."""
        del self.users[name]
        self._save()

    def _save(self) -> None:
        text = "".join(f"{name} {role} {salt.hex()} {hash.hex()}\n" for name, role, salt, hash
                       in self.users.values())
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as file:  # mode 0600
            file.write(text)
        os.replace(file.name, self.path)


def made(path: Path) -> Users:
    """The file's users; a new file if there is none."""
    path.touch(mode=0o600)
    return Users(path)


def _hash(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **SCRYPT)


def make_certificates(folder: Path, hosts: list[str]) -> None:
    """A throw-away authority and a server's certificate, by OpenSSL: ca.pem, server.pem and their keys.

    Raises Unusable, also if there is no `openssl`. The authority's key is thrown away too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ",".join(f"IP:{host}" if host.replace(".", "").isdecimal() or ":" in host else f"DNS:{host}"
                     for host in hosts)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    with tempfile.TemporaryDirectory() as scratch:
        authority_key, request, terms = (Path(scratch) / name for name in ("ca.key", "request", "terms"))
        terms.write_text(f"subjectAltName={names}\n")
        _openssl("req", "-x509", *new_key, "-subj", "/CN=DSJQ lab authority", "-days", DAYS,
                 "-keyout", authority_key, "-out", folder / "ca.pem")
        _openssl("req", *new_key, "-subj", "/CN=dsjq", "-keyout", folder / "server.key", "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", folder / "ca.pem", "-CAkey", authority_key,
                 "-CAcreateserial", "-CAserial", Path(scratch) / "serial", "-days", DAYS,
                 "-extfile", terms, "-out", folder / "server.pem")
    (folder / "server.key").chmod(0o600)


def _openssl(*words: str | Path) -> None:
    try:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unusable("certificates are made by openssl, which is not here (Debian: openssl)") from None
    except subprocess.CalledProcessError as problem:
        raise Unusable(f"openssl: {problem.stderr.strip()}") from None
