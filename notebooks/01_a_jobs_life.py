# %% [markdown]
# # 1. A job's life
#
# *15 minutes. You need nothing but this page; what it shows was seen in a run, and yours will look alike.*
#
# A producer has work that somebody should do. It does not know who, or when. So it hands the work to a
# *broker*, as a **job**, and workers ask the broker for jobs. All of it goes over TCP, in lines of text.
#
# **Question: which messages does one job take, from beginning to end, and who owns it in between?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# Count the messages about one job: each question and each answer is one. Put your number in the place of the dots.

# %%
messages = ...

# %% [markdown]
# ## Run
#
# One producer, one broker, one worker, each a process of its own; one job.

# %%
first = run("first_job")
first

# %% [markdown]
# ## Read the picture
#
# Time runs down, each process has a lane, and each arrow is a message. The coloured label at the broker is what the job
# became. A hollow point lies *somewhere* between the question and the answer: nobody outside saw it.
#
# The worker asks before there is any job. A good broker does not send it away: it waits, and answers at once when a job
# arrives. (The worker asks with `RESERVE`, which is `REQUEST` with terms: how long it is ready to wait.)

# %%
asked = [event for event in first.job("j1").shown.events if event.kind == "ask"]
answered = [event for event in first.job("j1").shown.events if event.kind == "hear"]
print(*(f"{event.lane:11} {event.text}" for event in [*asked, *answered]), sep="\n")
print(predicted(messages, len(asked) + len(answered)))

# %% [markdown]
# ## Explain
#
# Three questions, three answers. `SUBMIT` hands the job over: from `JOB_ID` on, the broker owns it, and the producer may
# forget it. `REQUEST` and `JOB` lend it to the worker. The loan ends with `ACK`, and *only the broker's `OK`* makes the
# job done: a worker that has sent `ACK` and heard nothing does not know.
#
# The history has every operation of the run, as it was seen from outside. The verdicts come from it alone.

# %%
about = first.history["f"].isin(["submit", "ack"]) & first.history["type"].isin(["invoke", "ok"])
first.history[about][["time_s", "process", "type", "f"]]

# %% [markdown]
# ## Change it
#
# Three jobs now, one worker still. Which order do they get done in? And may the producer be gone by then?

# %%
three = run("first_job", "load.jobs=3")
three.picture

# %% [markdown]
# ## Check

# %%
assert list(three.deliveries["job"]) == ["j1", "j2", "j3"], "first come, first served"
assert set(three.jobs["became"]) == {"done"}
three.deliveries

# %% [markdown]
# ## Your turn
#
# - Two workers instead of one: `run("first_job", "load.jobs=3", "workers.count=2")`. Is the order of `DONE` still certain?
# - Talk to a broker by hand: lab 1 of `LAB.md`.
