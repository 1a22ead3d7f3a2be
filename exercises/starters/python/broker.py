"""A broker that listens, and knows no command yet. Begin here.

    python3 broker.py --port 4730
"""

import argparse
import socket
import threading


def answer(line):
    """What one line is told. A line in, a line out: both without their end."""
    return "ERROR UNKNOWN_COMMAND"


def talk(client):
    """One connection, from its first byte to its last. It has a thread to itself."""
    with client:
        while data := client.recv(65536):
            line = data.decode().rstrip("\n")  # is this always one line? (stage 1)
            client.sendall(answer(line).encode() + b"\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", options.port)) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=talk, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
