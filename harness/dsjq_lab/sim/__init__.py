"""The explored world: the same source, every interleaving, replayed to the byte and shrunk to a story.

How it works, and where to read on:

- One run is one scenario under one *strategy*, in one real thread at a time, with a clock that jumps.
  Whoever gives way to whom, and when, is decided at *points*; every decision that is not the default one is
  noted, and these *deviations* are the run's schedule (tasks.py, kernel.py, countdown.py, stacks.py,
  schedule.py, strategies.py).
- The code under study is not changed. Its modules are loaded into simulated processes, with points put
  between their statements, and `threading`, `socket`, `time`, `os` and their like replaced by simulated
  ones (loader.py, points.py, process.py; library.py and std/, on top of net.py and disk.py). So is a single
  program by itself, without a lab (program.py).
- The lab is not changed either. The conductor is a task among the others; the clients are the clients of
  the live world, and so are the history, the checkers and the report (world.py, experiment.py). A fault of
  the network treats bytes as in the live proxy, and has only its place and its clock from here (middle.py,
  guests.py).
- A failing run is played again, must be the same, and is made small: fewer jobs, workers, faults,
  deviations. What is left is told by source line and stored as a run folder (search.py, shrink.py,
  story.py, stored.py).
- Student code runs in a child process, which is watched (explore.py, child.py, replay.py).
- Two other ways to look: every schedule within a bound (exhaustive.py), and detectors that see a race or an
  inverted lock order in a run in which it did no harm (detectors.py).

What this world lacks, it says: memory is sequentially consistent, a call into C is one step, and TCP loses
nothing. A green exploration is evidence and no proof; only an exhaustive one may say "complete", at its
bound.
"""
