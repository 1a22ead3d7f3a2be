"""Stage 4: who hangs up gives back what he holds, however the connection ended."""

import stage01
import stage03
from stage01 import Client
from stage02 import IN_FLIGHT


class Broker(stage03.Broker):
    def talk(self, client: Client) -> None:
        try:
            super().talk(client)
        finally:
            with self.lock:
                for job in self.jobs.values():
                    if job.state == IN_FLIGHT and job.holder is client:
                        self.give_back(job)


if __name__ == "__main__":
    stage01.serve(Broker)
