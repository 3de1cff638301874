#!/usr/bin/env python3
"""Writes out what the model does, for tests/unit/test_cell_model.c to repeat with ring/cell.c.

usage: make_cases.py > ../unit/cell_model_cases.h

A case is a list of lines. Each line is an operation on one of a few cells or client contexts, and
after the bar the cell that it leaves, or what is said there. A VALUE is a number, or x: a delete.

    blind CELL NODE HLC VALUE                lww CELL NODE HLC VALUE
    put CELL NODE HLC VALUE CLIENT           again CELL NODE HLC VALUE REFUSED-HLC
    merge CELL OTHER                         evict CELL
    drop CELL                                forget CELL NODE HLC
    expire CELL NOW                          touch CELL NODE HLC REGISTER-HLC EXPIRES CAS STALE
    flush CELL FLOOR                         show CELL CLIENT | CONTEXT
    cover CELL NODE HLC | 0 or 1             reap CELL TIME | 0 or 1
    fold CLIENT INTERVALS | CONTEXT

A state is: l or - (live), the context as NODE:FIRST-LAST,... and the siblings as
NODE.HLC=VALUE/EXPIRES/REGISTER-HLC.CAS.STALE,... where a stub has no value. A write that the cell
has to refuse, since its dot comes before what the cell or the client knows of, leaves: late.
"""
import random

import cell as m

CASES, STEPS, CELLS, CLIENTS, NODES = 60, 40, 3, 2, 4
VERBS = ["blind", "put", "put", "put", "put", "merge", "merge", "merge", "merge", "evict", "drop",
         "show", "show", "show", "lww", "cover", "forget", "expire", "touch", "touch", "flush",
         "reap", "again", "fold"]


def context_text(context):
    rows = sorted((node == m.ANY, 0 if node == m.ANY else node, first, last)
                  for node, intervals in context.items() for first, last in intervals)
    return ",".join("%s:%d-%d" % ("*" if any_node else node, first, last)
                    for any_node, node, first, last in rows) or "none"


def version_text(dot, held):
    value = "" if held.value is m.STUB else held.value
    register = held.register
    return "%d.%d=%s/%d/%d.%d.%d" % (*dot, value, register.expires, register.hlc, register.cas,
                                     register.stale)


def state_text(cell):
    siblings = ",".join(version_text(*item) for item in sorted(cell.siblings.items()))
    return "%s %s %s" % ("l" if cell.live else "-", context_text(cell.context), siblings or "none")


class Case:
    def __init__(self, seed):
        self.rnd = random.Random(seed)
        self.cells = [m.Cell() for _ in range(CELLS)]
        self.clients = [{} for _ in range(CLIENTS)]
        self.clock = dict.fromkeys(range(1, NODES + 1), 0)
        self.number = 0

    def lines(self):
        for self.number in range(1, STEPS + 1):
            line = self.operation(self.rnd.choice(VERBS))
            if line:
                yield line

    def fresh(self, node, known):
        """A time after all that is known; at times, one that is not."""
        if known and self.rnd.random() < .1:
            return self.rnd.randint(1, known)
        hlc = max(known, self.clock[node]) + self.rnd.randint(1, 3)
        self.clock[node] = hlc  # no dot names two writes
        return hlc

    def write(self, verb, c, node, k):
        """A put of any kind: the rest of its line and the cell it leaves, None if it is refused."""
        cell, seen = self.cells[c], self.clients[k] if verb == "put" else {}
        if verb == "again":
            own = [dot for dot in cell.siblings if cell.siblings[dot].value is not m.STUB]
            if not own:
                return None, None
            node, refused = self.rnd.choice(own)
        known = m.newest(cell, seen)
        hlc = self.fresh(node, known)
        value = m.TOMBSTONE if self.rnd.random() < .25 else self.number
        text = "%d %d %s" % (node, hlc, value)
        text += " %d" % k if verb == "put" else " %d" % refused if verb == "again" else ""
        if hlc <= known:
            return text, None
        new = m.version(value, hlc)
        if verb == "blind":
            return text, m.put_blind(cell, node, hlc, new)
        if verb == "lww":
            return text, m.put_last_write_wins(cell, node, hlc, new)
        if verb == "put":
            return text, m.put_context(cell, node, hlc, new, seen)
        return text, m.put_again(cell, node, hlc, new, refused)

    def change(self, verb, c):
        """What changes a cell without being a write: the rest of its line, and the cell it leaves."""
        cell, rnd = self.cells[c], self.rnd
        if verb == "merge":
            other = (c + rnd.randrange(1, CELLS)) % CELLS
            return " %d" % other, m.merge(cell, self.cells[other])
        if verb == "evict":
            return "", m.evict(cell)
        if verb == "drop":
            return "", m.Cell()
        if verb == "expire":
            now = rnd.randint(1, 20)
            return " %d" % now, m.expire(cell, now)
        if verb == "flush":
            floor = rnd.randint(0, m.newest(cell))
            return " %d" % floor, m.flush(cell, floor)
        if not cell.siblings:
            return None, None
        dot = rnd.choice(sorted(cell.siblings))
        if verb == "forget":
            return " %d %d" % dot, m.forget(cell, dot)
        register = m.Register(dot[1] + rnd.randint(0, 5), rnd.choice((m.NEVER, rnd.randint(1, 20))),
                              rnd.choice((0, 7)), rnd.random() < .5)
        return " %d %d %d %d %d %d" % (*dot, *register), m.touch(cell, dot, register)

    def operation(self, verb):
        """Applies one random operation and returns its line."""
        c, k, node = (self.rnd.randrange(CELLS), self.rnd.randrange(CLIENTS),
                      self.rnd.randrange(1, NODES + 1))
        cell = self.cells[c]
        if verb == "show":
            self.clients[k] = m.shown(cell)[1]
            return "show %d %d | %s" % (c, k, context_text(self.clients[k]))
        if verb == "fold":
            most = self.rnd.randint(1, 4)
            self.clients[k] = m.fold(self.clients[k], most)
            return "fold %d %d | %s" % (k, most, context_text(self.clients[k]))
        if verb == "cover":
            dot = (node, self.rnd.randint(1, m.newest(cell) + 1))
            return "cover %d %d %d | %d" % (c, *dot, m.covers(cell.context, dot))
        if verb == "reap":
            time = self.rnd.randint(1, m.newest(cell) + 1)
            return "reap %d %d | %d" % (c, time, m.reapable(cell, time))
        if verb in ("blind", "put", "lww", "again"):
            text, left = self.write(verb, c, node, k)
            if text is None:
                return None
            self.cells[c] = left or cell
            return "%s %d %s | %s" % (verb, c, text, state_text(left) if left else "late")
        text, left = self.change(verb, c)
        if text is None:
            return None
        self.cells[c] = left
        return "%s %d%s | %s" % (verb, c, text, state_text(left))


def main():
    print("/* Made by tests/model/make_cases.py from the model: change that, and make it again. */")
    for seed in range(CASES):
        print('"case %d",' % seed)
        for line in Case(seed).lines():
            print('"%s",' % line)


if __name__ == "__main__":
    main()
