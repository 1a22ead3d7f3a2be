# %% [markdown]
# # 3. A worker hangs, and nobody hangs up
#
# *20 minutes. You need lesson 2.*
#
# A dead process is easy: its connections close. Here a worker is stopped (SIGSTOP) while it holds a job. It is not
# dead. Its socket is open, its kernel even takes what it is sent. It just does nothing, for two and a half seconds.
#
# **Question: how can the broker know?** It cannot. It can only set a deadline: the **lease**.

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# The lease lasts one second (`broker.ack_timeout`). After how many seconds, rounded, does the next worker get the job?

# %%
seconds = ...

# %% [markdown]
# ## Run

# %%
hung = run("hung_worker")
hung

# %% [markdown]
# The amber part of a lane is the time in which the process hangs. What the worker sends when it wakes up comes too
# late, and the broker says so: `ERROR STALE`.

# %%
def wait_s(played):
    """Between the first and the second delivery of the job that was delivered twice."""
    job = played.jobs["job"][0]  # those that were delivered most come first
    first, second, *_ = played.deliveries[played.deliveries["job"] == job]["time_s"]
    return second - first


print(f"{wait_s(hung):.3f} s.", predicted(seconds, round(wait_s(hung))))

# %% [markdown]
# ## Explain
#
# The broker waits for as long as the lease lasts and not longer. A short lease gives jobs of hung workers back soon,
# and takes jobs away from workers that are merely slow. A long one does the opposite. No value is right for both:
# *slow* and *dead* look the same from outside.
#
# ## Change it
#
# A lease of three seconds: longer than the worker hangs.

# %%
patient = run("hung_worker", "broker.ack_timeout=3s", "faults.0.for=1500ms")
patient.job("j3") if (patient.deliveries["job"] == "j3").sum() == 1 else patient

# %% [markdown]
# ## Check
#
# Nobody noticed that the worker had been away: no job was delivered twice.

# %%
assert wait_s(hung) >= 0.99
assert patient.deliveries["job"].is_unique

# %% [markdown]
# ## Your turn
#
# - `run("hung_worker", broker="zoo/p10")`: the same lease, another broker. Which rule is broken, and how?
# - `run("stuck_handler")`: here the process is well and renews its lease; only its *work* stands still. Who notices?
# - A load balancer calls a server dead after three missed pings. Which two mistakes can it make?
