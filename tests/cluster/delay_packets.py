"""Takes packets from NFQUEUE 1 and lets each go on after a while that chance decides.

    delay_packets.py LEAST_MS MOST_MS LOSS SEED

Says `ready` once packets come here.  Speaks to the kernel itself: the few messages that it takes are
described in linux/netfilter/nfnetlink_queue.h.
"""

import heapq
import random
import select
import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT, NFQNL_MSG_CONFIG = 0x300, 0x301, 0x302
NLM_F_REQUEST = 1
NFQA_PACKET_HDR, NFQA_VERDICT_HDR = 1, 2
NFQA_CFG_CMD, NFQA_CFG_PARAMS, NFQA_CFG_QUEUE_MAXLEN = 1, 2, 3
NFQNL_CFG_CMD_BIND, NFQNL_COPY_META = 1, 1
NF_DROP, NF_ACCEPT = 0, 1
QUEUE = 1


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def message(kind, *attributes):
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, QUEUE) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST, 0, 0) + body


def open_queue():
    queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    queue.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    queue.bind((0, 0))
    queue.send(message(NFQNL_MSG_CONFIG, attribute(
        NFQA_CFG_CMD, struct.pack(">BBH", NFQNL_CFG_CMD_BIND, 0, socket.AF_INET))))
    queue.send(message(NFQNL_MSG_CONFIG, attribute(
        NFQA_CFG_PARAMS, struct.pack(">IB", 0, NFQNL_COPY_META)),
        attribute(NFQA_CFG_QUEUE_MAXLEN, struct.pack(">I", 10000))))
    return queue


def packet_ids(received):
    """The ids of the packets that one datagram of netlink tells of."""
    while len(received) >= 16:
        size, kind = struct.unpack_from("=IH", received)
        if kind == NFQNL_MSG_PACKET:
            yield from packet_id(received[20:size])
        received = received[(size + 3) & ~3:]


def packet_id(attributes):
    while len(attributes) >= 4:
        size, kind = struct.unpack_from("=HH", attributes)
        if kind & 0x3fff == NFQA_PACKET_HDR:
            yield struct.unpack_from(">I", attributes, 4)[0]
        attributes = attributes[(max(size, 4) + 3) & ~3:]


def verdict(queue, number, what):
    queue.send(message(NFQNL_MSG_VERDICT, attribute(NFQA_VERDICT_HDR,
                                                    struct.pack(">II", what, number))))


def main():
    least_s, most_s = float(sys.argv[1]) / 1000, float(sys.argv[2]) / 1000
    loss, chance = float(sys.argv[3]), random.Random(int(sys.argv[4]))
    queue = open_queue()
    held = []                       # (when it goes on, its id)
    print("ready", flush=True)
    while True:
        wait_s = max(0, held[0][0] - time.monotonic()) if held else None
        if select.select([queue], [], [], wait_s)[0]:
            for number in packet_ids(queue.recv(1 << 16)):
                if chance.random() < loss:
                    verdict(queue, number, NF_DROP)
                else:
                    heapq.heappush(held, (time.monotonic() + chance.uniform(least_s, most_s), number))
        while held and held[0][0] <= time.monotonic():
            verdict(queue, heapq.heappop(held)[1], NF_ACCEPT)


if __name__ == "__main__":
    main()
