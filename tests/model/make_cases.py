#!/usr/bin/env python3
"""Writes out what the model does, for tests/unit/test_cell_model.c to repeat with ring/cell.c.

usage: make_cases.py > ../unit/cell_model_cases.h

A case is a list of lines. Each line is an operation on one of a few cells or client contexts, and
after the bar the cell that it leaves:

    blind CELL NODE HLC VALUE | CELL STATE      lww CELL NODE HLC VALUE | CELL STATE
    put CELL NODE HLC VALUE CLIENT | CELL STATE
    merge CELL OTHER | CELL STATE               evict CELL | CELL STATE
    forget CELL | CELL STATE                    show CELL CLIENT | CONTEXT
    cover CELL NODE HLC | 0 or 1

A state is: l or - (live), the context as NODE:FIRST-LAST,... and the siblings as
NODE.HLC=VALUE,... where a stub has no value.
"""
import random

import cell as m

CASES, STEPS, CELLS, CLIENTS, NODES = 40, 30, 3, 2, 4
INTERVALS_MAX = 16      # beyond that the C code drops intervals, which the model does not
ANY_LAST = 99           # stands for ANY where nodes are sorted: after all of them


def context_text(context):
    rows = sorted((ANY_LAST if node == m.ANY else node, first, last)
                  for node, intervals in context.items() for first, last in intervals)
    return ",".join("%s:%d-%d" % ("*" if node == ANY_LAST else node, first, last)
                    for node, first, last in rows) or "none"


def state_text(cell):
    siblings = ",".join("%d.%d=%s" % (*dot, "" if value is m.STUB else value)
                        for dot, value in sorted(cell.siblings.items()))
    return "%s %s %s" % ("l" if cell.live else "-", context_text(cell.context), siblings or "none")


def newest(context, node):
    """What a fresh dot of node has to come after."""
    return max((last for name in (node, m.ANY) for _, last in context.get(name, ())), default=0)


def operation(rnd, cells, clients, clock, number):
    """Applies one random operation and returns its line."""
    c, other = rnd.randrange(CELLS), rnd.randrange(CELLS)
    k, node = rnd.randrange(CLIENTS), rnd.randrange(1, NODES + 1)
    verb = rnd.choice(["blind", "put", "put", "put", "merge", "merge", "merge", "evict", "forget",
                       "show", "show", "lww", "cover"])
    known = max(newest(cells[c].context, node), newest(clients[k], node))
    hlc = max(known, clock[node], number if rnd.random() < .5 else 0) + rnd.randint(1, 3)
    if verb in ("blind", "lww", "put"):
        clock[node] = hlc   # no dot names two writes
    head = "%s %d" % (verb, c)
    if verb == "blind":
        cells[c] = m.put_blind(cells[c], node, hlc, number)
        head += " %d %d %d" % (node, hlc, number)
    elif verb == "lww":
        cells[c] = m.put_last_write_wins(cells[c], node, hlc, number)
        head += " %d %d %d" % (node, hlc, number)
    elif verb == "put":
        cells[c] = m.put_context(cells[c], node, hlc, number, clients[k])
        head += " %d %d %d %d" % (node, hlc, number, k)
    elif verb == "merge":
        other = (c + 1) % CELLS if other == c else other
        cells[c] = m.merge(cells[c], cells[other])
        head += " %d" % other
    elif verb == "evict":
        cells[c] = m.evict(cells[c])
    elif verb == "forget":
        cells[c] = m.Cell()
    elif verb == "show":
        clients[k] = m.shown(cells[c])[1]
        return "%s %d | %s" % (head, k, context_text(clients[k]))
    else:
        dot = (node, rnd.randint(1, hlc))
        return "%s %d %d | %d" % (head, *dot, m.covers(cells[c].context, dot))
    return "%s | %s" % (head, state_text(cells[c]))


def case(seed):
    rnd = random.Random(seed)
    cells, clients = [m.Cell() for _ in range(CELLS)], [{} for _ in range(CLIENTS)]
    clock = dict.fromkeys(range(1, NODES + 1), 0)
    lines = []
    for number in range(1, STEPS + 1):
        lines.append(operation(rnd, cells, clients, clock, number))
        if any(sum(map(len, cell.context.values())) > INTERVALS_MAX for cell in cells):
            return lines[:-1]
    return lines


def main():
    print("/* Made by tests/model/make_cases.py from the model: change that, and make it again. */")
    for seed in range(CASES):
        print('"case %d",' % seed)
        for line in case(seed):
            print('"%s",' % line)


if __name__ == "__main__":
    main()
