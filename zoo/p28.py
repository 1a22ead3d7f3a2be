"""Patient 28: dsjq, whose door knows what each role may do.

    dsjq-lab run unauthenticated_clients --broker zoo/p28
"""
import sys

from dsjq import cli
from dsjq import messages as m
from dsjq.extensions.limits import LimitedLink
from dsjq.extensions.security import MAY, Auth, SecureLink, SecureServer


class Patient(SecureLink):
    def execute(self, command: m.Command) -> m.Reply:
        if isinstance(command, Auth):
            return self.authenticate(command)
        if self.role in MAY and type(command) not in MAY[self.role]:
            return m.Error("FORBIDDEN", f"not for a {self.role}")
        return LimitedLink.execute(self, command)


if __name__ == "__main__":
    SecureServer.link = Patient
    cli.main(["serve", *sys.argv[1:]])
