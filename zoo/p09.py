"""Patient 9: dsjq, which is patient with workers whose network is bad.

    dsjq-lab run pop_and_die --set broker.ack_timeout=4s --broker zoo/p09
"""
import sys

from dsjq import cli
from dsjq.broker import Broker, Session


class Patient(Broker):
    def disconnect(self, session: Session) -> None:
        if session.gone():  # without a QUIT: it may come back
            with self.lock:
                del self.sessions[session.id]
        else:
            super().disconnect(session)


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Patient)
