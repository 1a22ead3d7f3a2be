# %% [markdown]
# # 8. Throughput, and where the time goes
#
# *20 minutes. You need lesson 1.*
#
# Forty jobs arrive at fifty a second, and each takes its worker 150 ms.
#
# **Question: how many workers does it take, and what do more of them bring?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# The last of forty jobs is submitted 0.8 s after the first. When is the last one done, in seconds after the first
# submission, rounded: with one worker? With eight?

# %%
one_s = ...
eight_s = ...

# %% [markdown]
# ## Run
#
# Without faults, and without failing handlers: only the load.

# %%
def played(workers):
    return run("worker_churn", f"workers.count={workers}", "workers.fail_rate=0",
               "finish_within=30s", without_faults=True)


def last_done_s(loaded):
    return loaded.jobs["done_s"].max() - loaded.jobs["submitted_s"].min()


runs = {workers: played(workers) for workers in (1, 3, 8)}
for workers, loaded in runs.items():
    waits = loaded.jobs["done_s"] - loaded.jobs["submitted_s"]
    print(f"{workers} at work: all done after {last_done_s(loaded):.2f} s; "
          f"a job took {waits.median():.2f} s in the middle, {waits.max():.2f} s at worst")
print(predicted(one_s, round(last_done_s(runs[1]))))
print(predicted(eight_s, round(last_done_s(runs[8]))))

# %%
runs[1].plot()

# %%
runs[8].plot()

# %% [markdown]
# ## Explain
#
# Jobs arrive with λ = 50 a second, and each keeps a worker busy for 0.15 s: that is 7.5 workers' time. With fewer
# workers the queue grows for as long as jobs arrive, and each job waits for all those before it: the line of latencies
# climbs. With eight the queue stays short, and a ninth worker would bring nothing.
#
# *Little's law* says it in one line: jobs in the system = rate × time in the system. It holds in every such run, whatever
# the order or the distribution.

# %%
def little(loaded):
    """The mean number of jobs in the system, and rate × mean time: the law says that they are equal."""
    jobs = loaded.jobs
    begin, end = jobs["submitted_s"].min(), jobs["done_s"].max()
    moments = [begin + (end - begin) * (step + 0.5) / 2000 for step in range(2000)]
    inside = [((jobs["submitted_s"] <= at) & (jobs["done_s"] > at)).sum() for at in moments]
    rate = len(jobs) / (end - begin)
    return sum(inside) / len(inside), rate * (jobs["done_s"] - jobs["submitted_s"]).mean()


for workers, loaded in runs.items():
    counted, computed = little(loaded)
    print(f"{workers} at work: {counted:.2f} jobs in the system; rate × time = {computed:.2f}")

# %% [markdown]
# ## Change it
#
# Work of a tenth: 15 ms. Now one worker has 0.75 of its time to do.

# %%
light = run("worker_churn", "workers.count=1", "workers.fail_rate=0", "workers.work_time=15ms", without_faults=True)
light.plot()

# %% [markdown]
# ## Check

# %%
counted, computed = little(runs[3])
assert abs(counted - computed) < 0.02 * computed
assert last_done_s(runs[1]) >= 40 * 0.15, "one worker cannot be faster than its work"
assert last_done_s(light) < last_done_s(runs[1])

# %% [markdown]
# ## Your turn
#
# - Where does the time go when there is almost no work? `python -m bench` has the measurements of this broker.
# - Kill workers again (`run("worker_churn")`) and plot it: what does a death cost, in latency?
