"""dsjq over frames: the same questions as in lines, each in a frame of its own, once HELLO binary/1 is OK.

The messages are packed and unpacked by dsjq's own codings. That these agree with docs/protocol.md is shown
elsewhere; here it is about what happens between the broker and its clients.
"""

import json
import sys
from collections.abc import Callable

from dsjq.extensions.binary import LENGTH, Frames
from dsjq.messages import Error
from dsjq.text import decode_command, encode_reply
from dsjq_lab.workload import LineClient, Record, Refused, Unknown, main


class FrameClient(LineClient):
    framed = False

    def __init__(self, config: Record, timeout_s: float) -> None:
        super().__init__(config, timeout_s)
        try:
            self.ask("HELLO binary/1")
        except Refused as refusal:
            raise OSError(str(refusal)) from None
        self.framed = True

    def ask(self, question: str, sent: Callable[[], None] = lambda: None) -> str:
        try:
            return super().ask(question, sent)
        except (ValueError, KeyError) as problem:
            raise Unknown(f"garbage: {problem}") from None

    def encode(self, question: str) -> bytes:
        if not self.framed:
            return super().encode(question)
        command = decode_command(question.encode())
        assert not isinstance(command, Error), command
        coding = Frames()
        return coding.wrap(coding.encode_command(command))

    def cut(self, data: bytes) -> tuple[bytes, bytes] | None:
        if not self.framed:
            return super().cut(data)
        if len(data) < LENGTH.size or len(data) < (end := LENGTH.size + LENGTH.unpack_from(data)[0]):
            return None
        first, *more = map(encode_reply, Frames().replies(data[:end]))
        return first.removesuffix(b"\n"), b"".join(more) + data[end:]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), FrameClient)
