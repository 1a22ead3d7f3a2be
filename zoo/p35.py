"""Patient 35: dsjq, which tells a worker that gets nothing when to ask again.

    dsjq-lab run pop_and_die --broker zoo/p35
"""
import sys

from dsjq import cli
from dsjq.extensions import codings
from dsjq.messages import Empty, Reply
from dsjq.text import encode_reply


def encode(reply: Reply) -> bytes:
    return encode_reply(reply) + b"RETRY 0.1\n" * isinstance(reply, Empty)


codings.encode_reply = encode

if __name__ == "__main__":
    cli.main(["serve", *sys.argv[1:]])
