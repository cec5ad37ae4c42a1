"""Bytes that no client of ours sends: the daemon refuses, drops or ignores them, goes on, and loses nothing.

The sender speaks ZMTP 3.0 by hand, so that nothing on our side checks what leaves.
"""
# also: asan

import os
import random
import socket
import struct
import subprocess

from cluster import PYTHON, check, equal, main, process_runs

GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31


class Peer:
    """A DEALER over the daemon's client socket."""

    def __init__(self, c, greeting=GREETING):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(3)
        self.socket.connect(c.endpoint.removeprefix("ipc://"))
        self.socket.sendall(greeting)

    def join(self):
        properties = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + struct.pack(">I", 0)
        body = b"\x05READY" + properties
        self.socket.sendall(b"\x04" + bytes([len(body)]) + body)
        self.read(64)
        return self

    def read(self, count):
        data = b""
        try:
            while len(data) < count:
                more = self.socket.recv(count - len(data))
                if not more:
                    break
                data += more
        except OSError:
            pass
        return data

    def frame(self, body, more=False):
        try:
            self.socket.sendall(bytes([2 | more]) + struct.pack(">Q", len(body)) + body)
        except OSError:
            pass   # hung up on: fine

    def close(self):
        self.socket.close()


def still_well(c, before):
    check(process_runs(before), "the daemon lives")
    equal(c.pid("musterd"), before, "and is the same process")
    job = c.submit("--", "true")
    c.muster("wait", job)


def garbage_instead_of_a_greeting(c):
    before = c.pid("musterd")
    for junk in (b"", b"GET / HTTP/1.0\r\n\r\n", os.urandom(4096), b"\xff" * 1000, GREETING[:30]):
        Peer(c, junk).close()
    still_well(c, before)


def garbage_instead_of_a_message(c):
    before = c.pid("musterd")
    chance = random.Random(7)
    peer = Peer(c).join()
    for size in (0, 1, 2, 5, 17, 300, 5000):
        for _ in range(20):
            peer.frame(chance.randbytes(size))
    peer.close()
    still_well(c, before)


def messages_that_promise_too_much(c):
    """msgpack that announces billions of elements, or nests without an end."""
    before = c.pid("musterd")
    peer = Peer(c).join()
    for body in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x95\x01\x02\x01\x00\xdf\x7f\xff\xff\xff",
                 b"\x91" * 100000, b"\x95\x01\x02\x01\x00" + b"\x81\xa1x" * 1000, b"\x95\x63\x02\x01\x00\x80",
                 b"\x95\x01\x7f\x01\x00\x80", b"\x95\x01\x02\x01\x00\x80" + b"tail"):
        peer.frame(body)
    peer.close()
    peak = int([line for line in open(f"/proc/{before}/status") if line.startswith("VmHWM")][0].split()[1])
    check(peak < 512 * 1024, f"the daemon's memory peaked at {peak} KiB")
    still_well(c, before)


def a_message_beyond_the_limit(c):
    before = c.pid("musterd")
    peer = Peer(c).join()
    peer.frame(b"x" * (8 << 20))
    peer.close()
    still_well(c, before)


def many_frames_instead_of_one(c):
    before = c.pid("musterd")
    peer = Peer(c).join()
    for _ in range(200):
        peer.frame(b"\x95\x01", more=True)
    peer.frame(b"")
    peer.close()
    still_well(c, before)


def a_client_that_never_reads(c):
    before = c.pid("musterd")
    peer = Peer(c).join()
    peer.socket.settimeout(0.2)
    for _ in range(3000):
        peer.frame(b"\x95\x01\x06\x01\x00\x81\xa4what\xa4jobs")
    still_well(c, before)
    peer.close()


def connections_that_say_nothing(c):
    before = c.pid("musterd")
    peers = [Peer(c, b"") for _ in range(100)]
    still_well(c, before)
    for peer in peers:
        peer.close()


def a_users_message_is_not_a_nodes(c):
    """HELLO from a user that isn't the daemon's own must not make a node."""
    if not c.user:
        return
    program = ("import sys; sys.path.insert(0, sys.argv[1]); import test_hostile as t\n"
               "class C: endpoint = sys.argv[2]\n"
               "p = t.Peer(C).join()\n"
               "p.frame(b'\\x95\\x01\\x0e\\x01\\x00\\x81\\xa9inventory\\x81\\xa4name\\xa4evil'); p.read(4)")
    here = os.path.dirname(os.path.abspath(__file__))
    subprocess.run([PYTHON, "-c", program, here, c.endpoint], timeout=20, **c.identity())
    equal([n["name"] for n in c.json("nodes")["nodes"]], ["worker0"], "nodes")


if __name__ == "__main__":
    main([garbage_instead_of_a_greeting, garbage_instead_of_a_message, messages_that_promise_too_much, a_message_beyond_the_limit,
          many_frames_instead_of_one, a_client_that_never_reads, connections_that_say_nothing, a_users_message_is_not_a_nodes], 1, "2")
