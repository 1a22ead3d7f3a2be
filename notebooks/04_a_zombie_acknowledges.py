# %% [markdown]
# # 4. A zombie acknowledges
#
# *25 minutes. You need lesson 3.*
#
# A worker has done its work, and sleeps before it says so: a long garbage collection, a laptop that was closed.
# Its lease ends and the job goes to another. In that very moment the sleeper wakes up. It knows nothing of all that,
# and sends its `ACK`.
#
# **Question: what may the broker answer, and what is the harm if it answers something else?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# First: the code of the broker's answer to the sleeper, `"OK"`, `"STALE"` or `"NOT_FOUND"`. Second: how often was the
# work of this job done?

# %%
code = ...
effects = ...

# %% [markdown]
# ## Run

# %%
zombie = run("zombie_ack")
zombie

# %%
history = zombie.history
refused = history[(history["f"] == "ack") & (history["type"] == "fail")]
said = refused["error"].iloc[0].split()[1]
written = history[history["f"] == "effect"]["value"].map(lambda value: value["job"]).value_counts()
print(predicted(code, said))
print(predicted(effects, int(written.max())))

# %% [markdown]
# ## Explain
#
# `STALE`: whose lease is over has nothing more to say about the job. The broker tells the two workers apart by
# their connections, or better by the **token** that came with each delivery, and which only ever grows.
#
# But the work was done twice, and each time wrote a line to the ledger, the lab's stand-in for the world outside:
# a letter sent, money moved. No broker can prevent this. The scenario knows it, and *expects* `effect_once` to be
# violated: the run is green because of it.
#
# ## A broker that believes everybody

# %%
believer = run("zombie_ack", broker="zoo/p12")
believer

# %% [markdown]
# The job is over while its new holder is still at work. If that worker fails now, nobody tries again, and nobody knows.
#
# ## Change it
#
# An *idempotent* effect does no harm twice: it has a name, here the job's, and the ledger writes each name once. With
# it the violation that the scenario expects stays away, so we no longer expect any.

# %%
cured = run("zombie_ack", "workers.effect=idempotent", "expect=[]")
cured.verdicts[cured.verdicts["invariant"] == "effect_once"]

# %% [markdown]
# ## Check

# %%
assert said == "STALE" and written.max() == 2
assert zombie.standing("effect_once") == "expected"
assert believer.standing("no_stale_ack") == "violated"
assert cured.standing("effect_once") == "holds"

# %% [markdown]
# ## Your turn
#
# - Does a *fence* help, `"workers.effect=fenced"`? It turns away a token smaller than the largest that it has seen. Say
#   why not, in this story; lesson 5 has the story in which it does.
# - JetStream and Redis Streams accept such an ACK. Which of their users would notice?
