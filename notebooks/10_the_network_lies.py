# %% [markdown]
# # 10. The network lies
#
# *25 minutes. You need lesson 4.*
#
# Until now it was processes that failed. Here everybody is well, and what they say to each other is lost on the way, or
# comes late. The lab stands between the broker and its clients, passes on what they say, or does not.
#
# **Question: when no answer comes, what does a client know?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# Ten jobs. The broker takes each of them and answers, but one `JOB_ID` never arrives; later one `OK`, to an `ACK`, is lost
# in the same way. Whoever waits in vain gives up after a while, and connects again. It does not ask again.
#
# How many jobs will be done? How many does the producer know of? And how often is a job delivered, in all?

# %%
prediction = {
    "done": ...,
    "known to the producer": ...,
    "deliveries": ...,
}

# %% [markdown]
# ## Run

# %%
lost = run("reply_lost_on_the_way")
lost

# %%
def answered(played, what):
    """How many calls of this kind had an answer that arrived."""
    history = played.history
    return int(((history["f"] == what) & (history["type"] == "ok")).sum())


seen = {
    "done": int(lost.jobs["became"].str.contains("done").sum()),
    "known to the producer": answered(lost, "submit"),
    "deliveries": len(lost.deliveries),
}
for what, number in seen.items():
    print(f"{what}: ", predicted(prediction[what], number))

# %% [markdown]
# ## Explain
#
# Both commands had been carried out. To their senders that looks just as if they had never arrived: a **lost request and a
# lost reply cannot be told apart**. "It timed out" does not mean "it failed"; it is the third outcome, *unknown*.
#
# - The *producer* may not simply ask again: that could make two jobs of one. With a **key** it may: `PUT key=… ` answers a
#   second time what it answered the first time.
# - The *worker* may ask again without harm, as long as its connection lives: an `ACK` that is repeated changes nothing. That
#   is what *idempotent* means. Here its connection was given up with the answer.
#
# ## The network is cut in two
#
# Nothing is lost now. From one moment on the bytes between one worker and the broker are held back, and delivered a second
# later. The worker has done its job and was about to say so.

# %%
cut = run("network_partition")
job = cut.jobs["job"][0]  # those that were delivered most come first
cut.job(job)

# %% [markdown]
# Follow the job. Neither side is told of the partition: both see a connection that is open and silent. The broker does what
# it must do with silence: when the lease is over it gives the job to another.
#
# The same silence comes from a worker that has died, one that thinks hard, and one that is cut off. **A broker cannot tell
# them apart; it can only decide how long to wait.**
#
# ## Change it
#
# The partition lasts until the job is delivered again. Give the worker a lease that is longer than its patience, and look how
# long its job stands still.

# %%
def wait_s(played, name):
    """Between the first and the second delivery of a job."""
    first, second, *_ = played.deliveries[played.deliveries["job"] == name]["time_s"]
    return second - first


longer = run("network_partition", "broker.ack_timeout=2s")
for played in (cut, longer):
    again = played.jobs["job"][0]
    print(f"job {again}: given to another after {wait_s(played, again):.1f} s")

# %% [markdown]
# ## Check

# %%
assert seen["done"] == 10 and seen["known to the producer"] == 9
assert seen["deliveries"] == 10, "no job came back: the broker had its ACK"
assert wait_s(cut, job) >= 0.99
assert wait_s(longer, longer.jobs["job"][0]) >= 1.99
for played in (lost, cut, longer):
    assert played.outcome == "pass"

# %% [markdown]
# ## Your turn
#
# - `run("half_open")`: the worker's machine was switched off and is back at once. Its job is not. What is it waiting for?
# - `run("sliced_and_joined", broker="zoo/p22")`: a stream of bytes has no messages. Who believes that it has?
# - `run("slow_reader", broker="zoo/p06")`: one client does not read its answers. Why does everybody stop?
