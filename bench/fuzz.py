"""Noise for the decoders: `python -m bench fuzz [--inputs N] [--seed S]`, N for each of the two.

An input is a clump of bytes as it might come from a socket: a good message, then perhaps cut, repeated,
overwritten here and there or joined to another; or noise from the start. It must lead to commands and errors,
never to an exception, and must not leave more in the decoder's buffer than a message may be long. Each
connection hears ten inputs. What breaks a decoder is printed with the seed and the input's number.
"""
import argparse
import json
import random
import sys
import time
from collections import Counter
from typing import Any, get_args

from dsjq import messages as m
from dsjq.extensions.binary import FRAME_MAX, Frames
from dsjq.extensions.codings import Offering
from dsjq.text import LINE_MAX, LineCoding

SAID = [
    m.Submit(b"payload"), m.Submit(b"", 1.5, -3, 2.0, 4, "key"), m.Reserve(), m.Reserve(0.5),
    m.Reserve(short=True), m.Ack(1), m.Ack(1, "1.1"), m.Fail(2, "1.2"), m.Touch(3), m.Release(4), m.Kick(5),
    m.Status(6), m.Stats(), m.Jobs("DEAD", 7, 8), m.Hello("name"), m.Ping(), m.Quit(),
]
HEARD = (*get_args(m.Command), m.Error)


def clump(dice: random.Random, good: list[bytes]) -> bytes:
    """One input."""
    data = bytearray(dice.choice(good) if dice.random() < 0.9 else dice.randbytes(dice.randrange(40)))
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        at = dice.randrange(len(data) + 1)
        change = dice.randrange(4)
        if change == 0:
            del data[at:at + dice.randrange(1, 5)]
        elif change == 1:
            data[at:at + 1] = dice.randbytes(1)
        elif change == 2:
            data[at:at] = data[:at][-dice.randrange(1, 9):]
        else:
            data += dice.choice(good)
    return bytes(data)


def fuzz(name: str, coding: Any, buffer_max: int, inputs: int, seed: int) -> bool:
    """Whether the decoder stood it."""
    encode: Any = Frames() if name == "frames" else LineCoding()
    good = [encode.wrap(encode.encode_command(command)) for command in SAID]
    dice, found, start = random.Random(f"{seed} {name}"), Counter[str](), time.perf_counter()
    for number in range(inputs):
        if number % 10 == 0:
            decoder = coding()
        data = clump(dice, good)
        try:
            for item in decoder.commands(data):
                assert isinstance(item, HEARD), item
                found[item.code if isinstance(item, m.Error) else "commands"] += 1
                if isinstance(item, m.Quit):
                    decoder = coding()  # the connection is closed
                    break
            assert len(decoder.buffer) <= buffer_max
        except Exception as problem:
            print(f"{name}, seed {seed}, input {number}: {data!r}: {problem!r}", file=sys.stderr)
            return False
    print(json.dumps({"decoder": name, "inputs": inputs, "seed": seed, "found": dict(found.most_common()),
                      "s": round(time.perf_counter() - start, 1)}), flush=True)
    return True


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    stood = [fuzz("lines", Offering, LINE_MAX + 1, options.inputs, options.seed),
             fuzz("frames", Frames, FRAME_MAX + 4, options.inputs, options.seed)]
    return 0 if all(stood) else 1
