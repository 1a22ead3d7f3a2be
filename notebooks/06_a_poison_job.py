# %% [markdown]
# # 6. A job that kills whoever touches it
#
# *20 minutes. You need lesson 2.*
#
# One payload makes every worker crash that reads it. The broker is right to give the job to the next worker, each
# time: it cannot know that the job is the murderer.
#
# **Question: when must a queue stop trying, and what becomes of the job then?**

# %%
from dsjq_lab import predicted, run

# %% [markdown]
# ## Predict
#
# `max_attempts` is 3. How many workers die of this job? And the five other jobs: how many of them get done?

# %%
deaths = ...
done = ...

# %% [markdown]
# ## Run

# %%
poison = run("poison_job")
poison

# %%
killed = poison.history[(poison.history["f"] == "kill") & (poison.history["type"] == "info")]
strikes = killed["value"].map(lambda value: value["phase"] == "struck").sum()
print(predicted(deaths, int(strikes)))
print(predicted(done, int((poison.jobs["became"] == "done").sum())))

# %% [markdown]
# ## Explain
#
# A **dead letter** is kept and given to nobody, until a person has looked at it. Without a limit the job would take
# down one worker after another for ever, and since a job that comes back goes to the front, nothing else would get done.
# The number of attempts belongs to the *job* and is counted by the broker: a worker that dies can count nothing.
#
# ## Change it
#
# Is the limit used up only by deaths? Here handlers fail seven times of ten, politely, with `FAIL`. Then an operator
# kicks the dead jobs, and each gets its attempts anew.

# %%
kicked = run("dead_letter")
dead = [job for job in kicked.jobs.to_dict("records") if job["deliveries"] > 2]
kicked.job(dead[0]["job"])

# %% [markdown]
# ## Check

# %%
assert strikes == 3 and (poison.deliveries["job"].value_counts() <= 3).all()
assert poison.standing("dead_letter_at_limit") == "holds"
assert kicked.standing("dead_letter_at_limit") == "holds"
assert all(job["deliveries"] <= 4 for job in dead), "two attempts, and two more after the kick"
kicked.jobs["became"].value_counts()

# %% [markdown]
# ## Your turn
#
# - `run("poison_job", broker="zoo/p14")`: what does this broker believe about attempts?
# - RabbitMQ 3.10 has no limit for this. Which of its users find out, and when?
# - Should a killed broker count as an attempt of the jobs that were out? Argue both sides, then see `docs/protocol.md`.
