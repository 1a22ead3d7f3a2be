# %% [markdown]
# # 5. Late writes, and three cures
#
# *30 minutes. You need lesson 4.*
#
# A lease protects the queue, not the world. In `slow_job_runs_twice` nobody crashes at all: one job takes longer than
# its lease. In `zombie_effect` a worker sleeps *before* its write, and wakes up when another has written already.
#
# **Question: which cure helps against which story?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# For each pair, will some effect happen twice? Answer `True` or `False` in the place of the dots.

# %%
predictions = {
    ("slow_job_runs_twice", "no cure"): ...,
    ("slow_job_runs_twice", "renewal"): ...,
    ("slow_job_runs_twice", "idempotent"): ...,
    ("zombie_effect", "no cure"): ...,
    ("zombie_effect", "fenced"): ...,
    ("zombie_effect", "idempotent"): ...,
}

# %% [markdown]
# ## Run
#
# Without a cure first. Read the picture from the top: who believes to hold the job, and who holds it?

# %%
slow = run("slow_job_runs_twice", "expect=[]")
slow.picture

# %%
late = run("zombie_effect", "workers.effect=append", "expect=[]")
late.picture

# %% [markdown]
# Both runs are red, and no broker is to blame: `effect_once` is a promise that the whole system makes, or does not.
#
# ## Change it
#
# - **Renewal**: the worker tells the broker that it still works (`TOUCH`), and its lease grows.
# - **A fence**: the ledger asks for the token of the delivery, and turns away one that is smaller than it has seen.
# - **An idempotent effect**: the ledger remembers the job's name, and writes it once.

# %%
CURES = {
    "no cure": ["workers.effect=append"],
    "renewal": ["workers.effect=append", "workers.renew=true"],
    "fenced": ["workers.effect=fenced"],
    "idempotent": ["workers.effect=idempotent"],
}
twice = {}
for (scenario, cure), prediction in predictions.items():
    played = run(scenario, *CURES[cure], "expect=[]")
    twice[scenario, cure] = played.standing("effect_once") == "violated"
    print(f"{scenario}, {cure}: {predicted(prediction, twice[scenario, cure])}")

# %% [markdown]
# ## Check

# %%
assert twice["slow_job_runs_twice", "no cure"] and twice["zombie_effect", "no cure"]
assert sum(twice.values()) == 2, "each cure helps in the story that it was made for"

# %% [markdown]
# ## Explain
#
# Renewal helps while the worker *knows* that it works; one that sleeps renews nothing. A fence stops a write that comes
# late; it is powerless when the first write came in time and the worker died before its `ACK`. An idempotent effect
# helps in every story, and costs most: the effect must have a name, and the world must remember it.
#
# ## Your turn
#
# - `run("zombie_ack", "workers.effect=fenced")`: why is the fence of no use there?
# - Send a letter idempotently. Who must remember what, for how long, and where does the name come from?
