# %% [markdown]
# # 2. Workers die
#
# *20 minutes. You need lesson 1.*
#
# Three workers share forty jobs. While they work, the lab kills them (SIGKILL: no goodbye, no clean-up), and each
# comes back a little later. Some of them held a job when they died.
#
# **Question: what happens to a job whose worker is dead, and how often is its work done?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# One of the faults is *exact*: it strikes the worker that has just read the twelfth delivery, before it does
# anything. How often will the job of that delivery be delivered, in all?

# %%
times = ...

# %% [markdown]
# ## Run

# %%
churn = run("worker_churn")
print(churn)

# %% [markdown]
# ## The job of the twelfth delivery
#
# The red cross is the kill, the dotted red line is the time in which there is no such process.

# %%
twelfth = churn.deliveries["job"][11]
churn.job(twelfth)

# %%
print(predicted(times, int((churn.deliveries["job"] == twelfth).sum())))

# %% [markdown]
# ## Explain
#
# Twice, as a rule; more if the job failed on the way, or if its next worker was killed, too (the picture shows which).
# The kernel of the dead worker's machine closes its connections. The broker sees that, knows that nobody will ever
# acknowledge over this connection, and puts the job back: it is `PENDING` again, and goes to the next who asks.
#
# The broker cannot know *how far* the dead worker came. Perhaps the work was done and only the `ACK` was missing: then
# it is done twice. A broker that never delivers again would do it once or not at all. There is no third way: that is
# the choice between **at least once** and **at most once**, and this queue chose the first.
#
# Delivered twice is legal. *Held by two at once* is not: each would believe to be alone. That is `exclusive_lease`.

# %%
print({name: churn.standing(name) for name in ("no_lost_job", "exclusive_lease", "done_is_final")})

# %% [markdown]
# ## Change it
#
# The same story, with a broker that has one bug. Do not open the file yet.

# %%
sick = run("worker_churn", broker="zoo/p01")
sick

# %% [markdown]
# Find the two arrows that give one job to two workers. Then say in one sentence what the broker must have done.
#
# ## Check
#
# A race needs two. With a single worker the bug is still there, and nothing shows it.

# %%
alone = run("worker_churn", "workers.count=1", "faults=[]", "load.jobs=10", broker="zoo/p01")
assert sick.standing("exclusive_lease") == "violated"
assert alone.standing("exclusive_lease") == "holds"

# %% [markdown]
# A green run says that nothing broke *this time*. A red one is proof.
#
# ## Your turn
#
# - Open `zoo/p01.py` and compare it with your sentence.
# - `zoo/p02` breaks another promise. Which one, and between which two events of the picture lies the mistake?
# - `zoo/p03` makes nothing wrong at all. What does it do?
