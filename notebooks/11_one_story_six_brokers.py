# %% [markdown]
# # 11. One story, six brokers
#
# *30 minutes. You need lessons 2 and 4, and real brokers: `dsjq-lab doctor` says which of them this machine has, and how to
# get the others.*
#
# "At least once" stands in the manual of every queue. A scenario does not say whose broker it is; so the same load, the same
# crash at the same moment and the same judge can be had with all of them.
#
# **Question: what do the brokers that you know from work really do when a worker dies, and when one comes back from the
# dead?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# `pop_and_die`: a worker takes a job and is killed with it. One of the six has forgotten the job: which one?
#
# `zombie_ack`: a worker does its job, sleeps past its lease, and acknowledges a job that is another's by then. Which of
# those that have leases believe it? Fill in `True` or `False`.

# %%
forgets = ...
believes = {
    "dsjq": ...,
    "redis-stream": ...,
    "nats": ...,
    "beanstalkd": ...,
}

# %% [markdown]
# ## Run
#
# Six brokers, one after the other. RabbitMQ takes ten seconds to start.

# %%
six = ["dsjq", "rabbitmq", "redis-list", "redis-stream", "nats", "beanstalkd"]
died = {broker: run("pop_and_die", broker=broker) for broker in six}

lost = [broker for broker, played in died.items() if len(played.jobs) > played.jobs["became"].eq("done").sum()]
print(*lost, "-", predicted(forgets, lost[0]))

# %%
died["redis-list"].picture

# %% [markdown]
# `RPOP` takes the job out of the list, and that is all that Redis knows of it: nobody *holds* a job, nobody can lose it. The
# others lend their jobs. How soon do they notice that a borrower is gone?

# %%
def wait_s(played):
    """Between the first and the second delivery of the job that was delivered twice."""
    twice = played.jobs["job"][0]  # those that were delivered most come first
    first, second, *_ = played.deliveries[played.deliveries["job"] == twice]["time_s"]
    return second - first


for broker, played in died.items():
    if broker != "redis-list":
        print(f"{broker:13} the job is back after {wait_s(played):5.2f} s")

# %% [markdown]
# Some look at the *connection*: it ends with the worker, and the job comes back at once. Others wait for the *lease* to end,
# and ask nobody. That is slower, and it is kinder to a worker whose connection broke for a second.
#
# ## The zombie

# %%
woken = {broker: run("zombie_ack", broker=broker) for broker in believes}
for broker, played in woken.items():
    # A violation that the scenario foresees of this broker is called "expected".
    believed = played.standing("no_stale_ack") in ("violated", "expected")
    print(f"{broker:13}", predicted(believes[broker], believed))

# %%
woken["nats"].picture

# %% [markdown]
# ## Explain
#
# Who is asked "is this job done?" must know *whose* answer it is. DSJQ hands out a token with each delivery, and beanstalkd
# knows which connection holds a job: both turn the zombie away. JetStream and Redis Streams ask whether the entry is still
# waiting for an acknowledgement, not by whom it is brought.
#
# None of this is a mistake: they promise other things, and every one of them asks of you that **work may be done twice
# without harm**.
#
# ## Change it
#
# The effect of the work was *append*: whoever works twice has written twice. Make it idempotent, on the broker that believes
# everything.

# %%
def written(played):
    """How often each job's effect stands in the ledger."""
    return played.standing("effect_once")


cured = run("zombie_ack", "workers.effect=idempotent", "expect=[]", broker="nats")
print("append:    ", written(woken["nats"]))
print("idempotent:", written(cured))

# %% [markdown]
# ## Check

# %%
assert lost == ["redis-list"]
assert woken["dsjq"].standing("no_stale_ack") == woken["beanstalkd"].standing("no_stale_ack") == "holds"
assert woken["nats"].standing("no_stale_ack") == woken["redis-stream"].standing("no_stale_ack") == "expected"
assert written(woken["nats"]) == "expected" and written(cured) == "holds"

# %% [markdown]
# ## Your turn
#
# - `run("broker_crash", broker="rabbitmq")`, and again with `"broker.store=memory"`: what is a confirm worth there?
# - `run("poison_job", broker="rabbitmq")`: a job that kills whoever touches it. How often is it delivered?
# - In a terminal: `dsjq-lab compare broker_crash --brokers dsjq,rabbitmq,nats`. Which *acknowledgement* was worth less than a
#   submission?
