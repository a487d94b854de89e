"""Rates of TCP transfers over a link that the kernel shapes anew for every device and round.

`python tests/helpers/traced.py FILE` records the trace that scenarios may name. It needs root, for
network namespaces, and takes five minutes.
"""

import csv
import os
import socket
import struct
import subprocess
import sys
import time

import numpy as np
from shaped import BURST_BYTES, FAR, SERVER, command, shaped_link

PORT = 7071
MEAN_BPS = {"device-1": 8e6, "device-2": 40e6, "device-3": 16e6, "device-4": 24e6, "device-5": 12e6}
ROUNDS = 50
SPREAD_DB, COHERENCE_ROUNDS = 4.0, 5.0
DOWN_OVER_UP = 2.5
TRANSFER_S = 0.5
"""Bytes of a transfer are those that the shaped rate carries in this time."""
CHUNK = bytes(1 << 16)


def shaped_rates(rng):
    """Rates to shape the uplink to [bit/s], per device: log-normal, correlated over rounds."""
    kept = np.exp(-1 / COHERENCE_ROUNDS)
    for device, mean_bps in MEAN_BPS.items():
        level = rng.standard_normal()
        for number in range(ROUNDS):
            yield device, number, mean_bps * 10 ** (SPREAD_DB * level / 10)
            level = kept * level + np.sqrt(1 - kept**2) * rng.standard_normal()


def send(connection, size):
    while size > 0:
        size -= connection.send(CHUNK[:size])


def receive(connection, size):
    while size > 0:
        size -= len(connection.recv(min(size, len(CHUNK))))


def transfer(listener, way, size):
    """Bit/s of a transfer over a new connection, from its first byte to the receipt of its last."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(struct.pack(">cQ", way, size))
        begin = time.perf_counter()
        if way == b"d":
            send(connection, size)
            receive(connection, 1)
        else:
            receive(connection, size)
        return 8 * size / (time.perf_counter() - begin)


def far_end(server):
    """Connect and do as told, for ever."""
    while True:
        with socket.create_connection((server, PORT)) as connection:
            order = connection.recv(9, socket.MSG_WAITALL)
            if not order:
                return
            way, size = struct.unpack(">cQ", order)
            if way == b"d":
                receive(connection, size)
                connection.sendall(b"1")
            else:
                send(connection, size)


def record(file):
    rows = []
    with shaped_link(1e6) as space, socket.create_server((SERVER, PORT)) as listener:
        inside = ("ip", "netns", "exec", space)
        far = subprocess.Popen([*inside, sys.executable, __file__, "--far", SERVER])
        for device, number, up_bps in shaped_rates(np.random.default_rng(0)):
            ends = ((inside, FAR, up_bps), ((), f"card{os.getpid()}n", DOWN_OVER_UP * up_bps))
            for words, name, rate_bps in ends:
                shape = ("tbf", "rate", f"{rate_bps:.0f}bit", "burst", str(BURST_BYTES))
                change = ("tc", "qdisc", "change", "dev", name, "root", *shape, "latency", "400ms")
                command(*words, *change)
            size = round(up_bps * TRANSFER_S / 8)
            up = transfer(listener, b"u", size)
            down = transfer(listener, b"d", round(DOWN_OVER_UP * size))
            rows.append((device, number, round(up), round(down)))
        far.kill()
        far.wait()
    with open(file, "w", encoding="utf-8", newline="") as out:  # noqa: PTH123
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("device", "round", "uplink_bps", "downlink_bps"))
        writer.writerows(rows)


if __name__ == "__main__":
    far_end(sys.argv[2]) if sys.argv[1] == "--far" else record(sys.argv[1])
