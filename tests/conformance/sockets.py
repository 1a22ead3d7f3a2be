"""Runs on the real `socket` and on the simulated one, and must print the same."""
import select
import socket
import threading
import time

SOON_S = 0.05


def attempt(label, action):
    try:
        result = action()
    except BaseException as problem:
        result = type(problem).__name__
    print(label, result)


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    listener.close()
    return client, server


client, server = pair()
client.sendall(b"abc")
client.close()
time.sleep(SOON_S)
attempt("data, then end of file", lambda: (server.recv(10), server.recv(10)))
attempt("first send after the peer closed", lambda: server.sendall(b"x"))
time.sleep(SOON_S)
attempt("second send", lambda: server.sendall(b"x"))
attempt("third send", lambda: server.sendall(b"x"))

client, server = pair()
server.sendall(b"unread")
time.sleep(SOON_S)
client.close()
time.sleep(SOON_S)
attempt("the peer closed with bytes unread", lambda: server.recv(10))
attempt("recv again", lambda: server.recv(10))
attempt("send", lambda: server.sendall(b"x"))

client, server = pair()
client.shutdown(socket.SHUT_WR)
attempt("half close: end of file", lambda: server.recv(5))
server.sendall(b"still")
time.sleep(SOON_S)
attempt("half close: the other way is open", lambda: client.recv(5))
attempt("send after SHUT_WR", lambda: client.sendall(b"x"))

client, server = pair()
client.settimeout(0.05)
attempt("recv times out", lambda: client.recv(1))
client.settimeout(0)
attempt("recv would block", lambda: client.recv(1))
attempt("peek would block", lambda: server.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
client.setblocking(True)
client.sendall(b"peeked")
time.sleep(SOON_S)
attempt("peek", lambda: server.recv(1, socket.MSG_PEEK))
attempt("and read", lambda: server.recv(1))

client, server = pair()
client.close()
attempt("recv on closed", lambda: client.recv(1))
attempt("send on closed", lambda: client.sendall(b"x"))
attempt("fileno of closed", client.fileno)
attempt("close twice", client.close)

client, server = pair()
file = client.makefile("rb")
client.close()
server.sendall(b"line\n")
attempt("makefile outlives close", file.readline)
file.close()
time.sleep(SOON_S)
attempt("then the peer sees the end", lambda: server.recv(5))

client, server = pair()
file = client.makefile("rb")
server.sendall(b"a\nb\nc")
server.close()
attempt("iterate", lambda: list(file))

client, server = pair()
file = client.makefile("rwb")
file.write(b"buffered\n")
server.settimeout(0.05)
attempt("before flush", lambda: server.recv(20))
file.flush()
time.sleep(SOON_S)
attempt("after flush", lambda: server.recv(20))

client, server = pair()
file = client.makefile("r", encoding="utf-8")
server.sendall("täxt\n".encode())
attempt("text", file.readline)

client, server = pair()
client.settimeout(0.05)
file = client.makefile("rb")
server.sendall(b"part")
attempt("time-out in readline", file.readline)
attempt("after the time-out", file.readline)

listener = socket.create_server(("127.0.0.1", 0))
attempt("bind twice", lambda: socket.create_server(listener.getsockname()))
listener.settimeout(0.05)
attempt("accept times out", listener.accept)
waiting = socket.create_connection(listener.getsockname())
attempt("listener is readable", lambda: len(select.select([listener], [], [], 1)[0]))
address = listener.getsockname()
listener.close()
time.sleep(SOON_S)
attempt("listener closed with a backlog", lambda: waiting.recv(1))
attempt("connect after close", lambda: socket.create_connection(address, timeout=1))

listener = socket.create_server(("127.0.0.1", 0))
acceptor = threading.Thread(target=lambda: attempt("accept after shutdown", listener.accept))
acceptor.start()
time.sleep(SOON_S)
listener.shutdown(socket.SHUT_RDWR)
acceptor.join()
attempt("shutdown of a listener again", lambda: listener.accept())

client, server = pair()
server.settimeout(0.05)


def fill():
    while True:
        server.sendall(b"x" * 65536)


attempt("send to a peer that does not read", fill)

client, server = pair()
reader = threading.Thread(target=lambda: attempt("shutdown wakes a reader", lambda: client.recv(5)))
reader.start()
time.sleep(SOON_S)
client.shutdown(socket.SHUT_RDWR)
reader.join()
attempt("the peer sees it", lambda: server.recv(5))

client, server = pair()
server.sendall(b"before")
time.sleep(SOON_S)
client.shutdown(socket.SHUT_RD)
attempt("SHUT_RD: what was there", lambda: client.recv(10))
attempt("SHUT_RD: then the end", lambda: client.recv(10))
attempt("SHUT_RD: sending goes on", lambda: client.sendall(b"x"))

loose = socket.socket()
attempt("send unconnected", lambda: loose.sendall(b"x"))
attempt("recv unconnected", lambda: loose.recv(1))
attempt("getpeername", loose.getpeername)

one, other = socket.socketpair()
attempt("select times out", lambda: select.select([one], [], [], 0.01)[0])
other.sendall(b"hello")
attempt("select", lambda: select.select([one], [], [], 1)[0] == [one])
attempt("socketpair", lambda: one.recv(5))
other.close()
attempt("socketpair ends", lambda: one.recv(5))
