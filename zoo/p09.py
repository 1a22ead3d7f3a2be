"""Patient 9: dsjq, which is patient with workers whose network is bad.

    dsjq-lab run reset_at_work --broker zoo/p09
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session
from dsjq.extensions.limits import LimitedLink, LimitedServer


class Link(LimitedLink):
    def receive(self) -> bytes:
        try:
            return super().receive()
        except ConnectionResetError:  # it may come back
            self.server.broker.sessions.pop(self.session.id)
            raise


class Patient(Broker):
    def disconnect(self, session: Session) -> None:
        if session.id in self.sessions:
            super().disconnect(session)


if __name__ == "__main__":
    LimitedServer.link = Link
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
