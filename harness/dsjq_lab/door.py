"""A door for one run: a certificate, users, and the secret by which the lab's clients come in.

None of it outlives the run, and none of it lies in its folder, which is kept, shown and shared. The secret
reaches a client in its environment: arguments can be read by everybody on this machine.
"""

import secrets
import tempfile
from pathlib import Path

from dsjq.extensions.credentials import ROLES, Users, made, make_certificates
from dsjq.store import Unusable
from dsjq_lab.errors import LabError
from dsjq_lab.workload import SECRET

USERS = {"producer": "producer", "worker": "worker", "auditor": "admin"}  # each may what its role does


class Door:
    """Raises LabError if this machine cannot make certificates."""

    def __init__(self, *, tls: bool, users: bool, host: str) -> None:
        self.tls = tls
        self.folder = tempfile.TemporaryDirectory(prefix="dsjq-door-")
        self.path = Path(self.folder.name)
        self.secret = secrets.token_urlsafe()
        self.users: Users | None = None
        try:
            if tls:
                make_certificates(self.path, [host])
            if users:
                self.users = made(self.path / "users")
                for role in ROLES:
                    self.users.put(role, role, self.secret)
        except Unusable as problem:
            self.close()
            raise LabError(str(problem)) from None

    def options(self) -> dict[str, str]:
        """For the broker's command line."""
        given = {}
        if self.tls:
            given = {"--tls-cert": str(self.path / "server.pem"), "--tls-key": str(self.path / "server.key")}
        return given | ({"--users": str(self.users.path)} if self.users else {})

    def introduce(self, role: str) -> dict[str, str]:
        """What a client is told; a stranger is no user, but may have found out the secret of one."""
        user = USERS.get(role, "") if self.users else ""
        return {"ca": str(self.path / "ca.pem") if self.tls else "", "user": user}

    def environment(self) -> dict[str, str]:
        return {SECRET: self.secret}

    def close(self) -> None:
        self.folder.cleanup()
