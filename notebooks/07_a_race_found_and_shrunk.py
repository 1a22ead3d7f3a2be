# %% [markdown]
# # 7. A race, found and shrunk
#
# *30 minutes. You need lesson 2, and some Python.*
#
# A colleague wants the broker to hold its lock for a shorter time: look for a job under the lock, let go, take the
# job under the lock. Each step is protected.
#
# **Question: what can go wrong, and how do you find out when tests stay green?**

# %%
from pathlib import Path

from dsjq_lab import explore, predicted, run

SCENARIO = """
scenario: 1
title: Two workers, two jobs
story: Two workers ask at the same moment.
load:
  jobs: 2
workers:
  count: 2
  work_time: 10ms
finish_within: 10s
focus: [exclusive_lease]
"""
BROKER = '''
import sys

from dsjq import cli
from dsjq.broker import Broker
from dsjq.lifecycle import decide
from dsjq.messages import Reserve


class Mine(Broker):
    def execute(self, command, session):
        if not isinstance(command, Reserve) or not self.queue.pending:
            return super().execute(command, session)
{pop}
        self.store.wait(position)
        return reply


if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]], broker=Mine)
'''
TWO_STEPS = '''
        with self.lock:
            now = self._now()
            self._let_time_pass(now)
            reply, records = decide(self.queue, command, session.id, now)
        with self.lock:
            position = self._record(records)
'''
for name, text in (("two_workers.yaml", SCENARIO), ("two_steps.py", BROKER.format(pop=TWO_STEPS))):
    Path(name).write_text(text)

# %% [markdown]
# ## Predict
#
# Ten runs on real processes: how many of them fail?

# %%
failures = ...

# %% [markdown]
# ## Run
#
# (Three are enough here.)

# %%
live = [run("two_workers.yaml", broker="two_steps.py") for _ in range(3)]
print(predicted(failures, f"{sum(played.outcome == 'fail' for played in live)} of {len(live)}"))

# %% [markdown]
# ## Explore
#
# Now the same files, unchanged, in one process, in which the lab decides after every line which thread goes on. Time
# and network are simulated, so a run takes milliseconds, and the same seed always gives the same run. The first
# failure is made small: fewer jobs, fewer workers, fewer switches, as long as it still fails.

# %%
found = explore("two_workers.yaml", broker="two_steps.py", runs=1000, seed=90)
found

# %% [markdown]
# ## Read the story
#
# The switches that are left are those that it takes. One thread was interrupted between the two `with` blocks, when it
# had chosen its job and not yet taken it. Another thread chose, and took it. Then the first went on, with what it
# remembered. Here the broker's own assertion noticed that, since its lifecycle is one table and each change is checked.
#
# This is the shrunk run. Look for the two rows in which one job becomes `IN_FLIGHT`:

# %%
found.failing.picture

# %% [markdown]
# ## Change it
#
# What was looked up is true only as long as the lock is held. So decision and change belong under it together.

# %%
ONE_STEP = '''
        with self.lock:
            now = self._now()
            self._let_time_pass(now)
            reply, records = decide(self.queue, command, session.id, now)
            position = self._record(records)
'''
Path("one_step.py").write_text(BROKER.format(pop=ONE_STEP))
mended = explore("two_workers.yaml", broker="one_step.py", runs=100, seed=90)
mended

# %% [markdown]
# ## Check

# %%
assert found.outcome == "fail" and found.violated
assert mended.outcome == "pass" and mended.runs == 100

# %% [markdown]
# A hundred green interleavings are evidence, and no proof.
#
# ## Your turn
#
# - `explore("two_workers.yaml", broker="zoo/p01", runs=200)`: another way to the same mistake. Compare the stories.
# - On the command line, `dsjq-lab replay RUN --step` shows every switch, with who holds and who waits for which lock.
# - `dsjq-lab explore first_job --exhaustive` may say "complete". Of what?
