"""The simulated modules: what `import threading` and its like give to a program in the explored world.

Each file says what it promises and what it leaves out. tests/conformance/ runs the same small programs on
these and on the real ones, and they must print the same.
"""
