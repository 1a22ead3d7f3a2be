# %% [markdown]
# # 9. What a confirm promises
#
# *25 minutes. You need lesson 2.*
#
# `JOB_ID` says: I have your job, you may forget it. Here the broker itself dies, twice, and keeps its jobs in a
# folder, in a *journal*: each change is appended to a file before anybody is told of it.
#
# **Question: what must have happened to the bytes before the broker may answer?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# `zoo/p15` writes to its journal as it should, and answers a little too early. Two stories: the broker is *killed*
# (SIGKILL, `broker_crash`), and the machine *loses its power* (`power_loss`). In which of them will jobs, or
# acknowledgements, get lost? `True` if some will.

# %%
lost_by_kill = ...
lost_by_power = ...

# %% [markdown]
# ## Run
#
# The broker as it should be, and a kill.

# %%
crash = run("broker_crash")
print(crash)

# %%
def at_the_crash(played):
    """What went on around the moment at which the broker died for the first time."""
    history = played.history
    struck = [op for op, value in enumerate(history["value"]) if value.get("phase") == "struck"]
    return played.around(struck[0])


at_the_crash(crash)

# %% [markdown]
# Whoever had asked and not yet heard an answer does not know what came of it. That is the third outcome beside *ok* and
# *refused*: **unknown**. What had been answered is there again when the broker is back.
#
# ## The early answer
#
# Now the patient, in both stories.

# %%
PROMISES = ("no_lost_job", "done_is_final", "attempts_increase", "counts_conserved")


def broken(played):
    return [name for name in PROMISES if played.standing(name) == "violated"]


killed = run("broker_crash", broker="zoo/p15")
power = run("power_loss", broker="zoo/p15")
print("killed:  ", predicted(lost_by_kill, bool(broken(killed))), broken(killed))
print("no power:", predicted(lost_by_power, bool(broken(power))), broken(power))

# %%
power.picture

# %% [markdown]
# ## Explain
#
# `write` hands bytes to the *kernel*. The kernel survives the process, so that a kill loses nothing that was written:
# **kill −9 does not test durability**. It does not survive a loss of power. Only `fsync` waits until the bytes are on the
# disk, and it takes a thousand times longer than `write`, which is why brokers are tempted to answer first.
#
# (The lab does not pull a plug. A shim between broker and kernel notes what reaches the disk, and when the power fails it
# takes away what had been written and not synced. `LAB.md` says what it can see and what it cannot.)
#
# ## Change it
#
# The same loss of power, and the broker that waits.

# %%
safe = run("power_loss")
safe.verdicts[safe.verdicts["invariant"].isin(PROMISES)]

# %% [markdown]
# ## Check

# %%
assert not broken(crash) and not broken(safe)
assert not broken(killed), "a kill takes nothing from the kernel"
assert broken(power)

# %% [markdown]
# ## Your turn
#
# - Many jobs are submitted at once. Must each wait for a sync of its own? `dsjq/extensions/log.py` opens with the answer.
# - `run("fsyncgate")`: the disk fails once. Why must the broker not simply try again?
# - `run("broker_crash", "broker.store=memory")`: which promise does a queue in memory make at all?
