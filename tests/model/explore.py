#!/usr/bin/env python3
"""Random histories of one key over a few nodes, checked against the truth, with the model alone.

usage: explore.py [--histories N] [--steps N] [--variant NAME] [--break RULE]

What tests/unit/explore does with ring/cell.c is done here with cell.py, so that a rule can be
tried in the model first. Every write records what its author truly knew. Then, under partitions,
lost messages, evictions and restarts (both forget the cell), these promises are checked:
  1. no write disappears unless a later write whose author knew it replaced it, or it was flushed,
     or every holder forgot it (a stub remembers the write, forgetting drops the cell whole);
  2. a context handed to a client covers no live write that the client was not shown;
  3. once all nodes have exchanged cells, all hold the same cell;
  4. what was superseded stays superseded, and what was flushed is gone;
  5. a replica that acknowledges a new write holds it;
  6. what has expired is not shown, and of two registers the later one is kept;
  7. a write is later than what it supersedes.
--break shows that the checks bite, one rule at a time.
"""
import argparse
import collections
import random

import cell as m

NODES, CLIENTS, SKEW = 4, 3, 16
VARIANTS = {
    "model": set(),
    "registers": {"deletes", "registers", "skew"},
    "forget-one": {"forget-one"},
    "last-write-wins": {"lww", "skew"},
    "mixed": {"mixed", "skew", "deletes"},
    "fold": {"fold", "deletes"},
    "flush": {"flush", "skew", "deletes"},
}


class History:
    def __init__(self, seed, steps, has):
        self.rnd, self.steps, self.has = random.Random(seed), steps, has
        self.cells = [m.Cell() for _ in range(NODES)]
        self.clock, self.floor = [0] * NODES, [0] * NODES
        self.skew = [self.rnd.randrange(SKEW) if "skew" in has else 0 for _ in range(NODES)]
        self.heard = [set() for _ in range(NODES)]   # writes known through the cell that is held
        self.wrote = [set() for _ in range(NODES)]   # writes ever coordinated
        self.session = [({}, frozenset())] * CLIENTS  # client -> (context, writes it was shown)
        self.cut = collections.defaultdict(bool)
        self.knows, self.winning = {}, set()         # dot -> dots its author knew; lww dots
        self.superseded = set()
        self.step, self.broken = 0, []

    def now(self, node):
        return self.step + self.skew[node]

    def tick(self, node, after=0):
        self.clock[node] = max(self.clock[node] + 1, after + 1, self.now(node))
        return self.clock[node]

    def check(self, holds, promise):
        if not holds:
            self.broken.append(promise)

    def live(self, dot):
        return dot not in self.superseded and dot[1] > max(self.floor)

    @staticmethod
    def held(cell):
        return {dot for dot, held in cell.siblings.items() if held.value is not m.STUB}

    def past(self, dots):
        return frozenset(dots).union(*(self.knows[dot] for dot in dots))

    def merged(self, a, b, node):
        filtered = m.flush(b, self.floor[node])
        out = m.merge(a, filtered)
        for dot in self.held(a) | self.held(b):
            self.check(dot in out.siblings or not self.live(dot), "a write was lost")
        for part in (a, filtered):
            for dot in part.siblings.keys() & out.siblings.keys():
                self.check(out.siblings[dot].register >= part.siblings[dot].register,
                           "an earlier register replaced a later one")
        return self.folded(out)

    def folded(self, cell):
        if "fold" in self.has:
            cell.context = m.fold(cell.context, 2)
        return cell

    def hear_flush(self, node, floor):
        self.clock[node] = max(self.clock[node], floor)
        self.floor[node] = max(self.floor[node], floor)
        before = self.cells[node]
        self.cells[node] = m.flush(before, self.floor[node])
        if before.siblings and not self.cells[node].siblings:
            self.drop(node)

    def drop(self, node):
        self.cells[node], self.heard[node] = m.Cell(), set()

    def send(self, a, b, new=None):
        """Gives node b the cell of a. False if b refuses a new dot, since it would not keep it."""
        self.clock[b] = max(self.clock[b], self.clock[a])
        self.hear_flush(b, self.floor[a])
        if new and m.is_covered(self.cells[b], new, self.floor[b]):
            return False
        self.cells[b] = self.merged(self.cells[b], self.cells[a], b)
        self.heard[b] = self.heard[b] | self.heard[a]
        self.check(not new or new in self.cells[b].siblings,
                   "a replica acknowledged a write that it does not hold")
        return True

    def note(self, node, dot, knew, wins):
        self.check(all(other[1] < dot[1] for other in knew),
                   "a write has an earlier time than one that it supersedes")
        if wins:  # it supersedes all that are older, those made later included
            knew = knew | {other for other in self.knows if other[1] < dot[1]}
            self.winning.add(dot)
        for other in self.winning:
            if other[1] > dot[1]:
                self.knows[other] |= {dot}
                self.superseded.add(dot)
        self.knows[dot] = frozenset(knew)
        self.superseded |= knew
        self.wrote[node].add(dot)
        self.heard[node] = self.heard[node] | knew | {dot}

    def version(self, node, dot):
        if "deletes" in self.has and self.rnd.random() < .3:
            return m.version(m.TOMBSTONE, dot[1])
        expires = self.now(node) + self.rnd.randrange(40) if "registers" in self.has else m.NEVER
        return m.version(len(self.knows) + 1, dot[1], expires)

    def put(self, node, client):
        before, (context, was_shown) = self.cells[node], self.session[client]
        wins = "lww" in self.has or ("mixed" in self.has and self.rnd.random() < .3)
        blind = not wins and self.rnd.random() < .3
        seen = {} if wins or blind else context
        dot = (node + 1, self.tick(node, max(m.newest(before, seen), self.floor[node])))
        new = self.version(node, dot)
        if wins:
            after, knew = m.put_last_write_wins(before, *dot, new), frozenset()
        elif blind:
            after = m.put_blind(before, *dot, new)
            knew = self.past(self.held(before)) | self.wrote[node] | self.heard[node]
        else:
            after, knew = m.put_context(before, *dot, new, context), was_shown
            for gone in self.held(before) - self.held(after) - was_shown:
                self.check(not self.live(gone),
                           "a context covered a write that its client never saw")
        self.cells[node] = self.folded(after)
        self.note(node, dot, knew, wins)
        self.replicate(node, dot, wins)

    def replicate(self, node, dot, wins):
        peers = [peer for peer in range(NODES)
                 if peer != node and not self.cut[node, peer] and self.rnd.random() < .8]
        for _ in range(3):
            refused = [peer for peer in peers if not self.send(node, peer, dot)]
            if not refused:
                return
            after = max([m.newest(self.cells[node])]
                        + [max(m.newest(self.cells[peer]), self.floor[peer]) for peer in refused])
            again, old = (node + 1, self.tick(node, after)), dot
            new = self.version(node, again)
            put = m.put_last_write_wins if wins else m.put_again
            more = () if wins else (old[1],)
            self.cells[node] = self.folded(put(self.cells[node], *again, new, *more))
            self.check(old not in self.cells[node].siblings, "a superseded write came back")
            self.note(node, again, self.past({old}), wins)
            dot = again

    def get(self, node, client):
        cell, known = self.cells[node], self.heard[node]
        for peer in range(NODES):
            if peer != node and not self.cut[peer, node] and self.rnd.random() < .5:
                self.clock[node] = max(self.clock[node], self.clock[peer])
                self.hear_flush(node, self.floor[peer])
                cell = m.flush(cell, self.floor[node])
                cell = self.merged(cell, self.cells[peer], node)
                known = known | self.heard[peer]
        values, context = m.shown(m.expire(cell, self.now(node)))
        for dot, held in values.items():
            expires = held.register.expires
            self.check(held.value is m.TOMBSTONE or not m.NEVER < expires <= self.now(node),
                       "an expired version was shown")
            self.check(dot[1] > self.floor[node], "a flushed write was shown")
        self.session[client] = (context, self.past(set(values)))
        if self.rnd.random() < .5:                   # read repair
            self.cells[node] = self.merged(self.cells[node], cell, node)
            self.heard[node] = self.heard[node] | known

    def touch(self, node):
        cell = self.cells[node] = m.expire(self.cells[node], self.now(node))
        values = [d for d, v in cell.siblings.items() if v.value not in (m.STUB, m.TOMBSTONE)]
        if values:
            register = m.Register(self.tick(node), self.rnd.choice(
                (m.NEVER, self.now(node) + self.rnd.randrange(40))), 0, self.rnd.random() < .5)
            self.cells[node] = m.touch(cell, self.rnd.choice(sorted(values)), register)

    def flush(self, node):
        floor = self.tick(node)
        for peer in range(NODES):
            if peer == node or not self.cut[node, peer]:
                self.hear_flush(peer, floor)

    def forget_one(self, node):
        if len(self.cells[node].siblings) > 1:
            dot = self.rnd.choice(sorted(self.cells[node].siblings))
            self.heard[node] = self.heard[node] - {dot}
            self.cells[node] = m.forget(self.cells[node], dot)

    def take_step(self):
        rnd, node, client = self.rnd, self.rnd.randrange(NODES), self.rnd.randrange(CLIENTS)
        if rnd.random() < .03:
            self.cut.update({(a, b): rnd.random() < .4 for a in range(NODES) for b in range(NODES)})
        if rnd.random() < .03:
            self.cut.clear()
        if "registers" in self.has and rnd.random() < .1:
            self.touch(node)
        if "forget-one" in self.has and rnd.random() < .05:
            self.forget_one(node)
        if "flush" in self.has and rnd.random() < .02:
            self.flush(node)
        dice, peer = rnd.random(), rnd.randrange(NODES)
        if dice < .35:
            self.put(node, client)
        elif dice < .65:
            self.get(node, client)
        elif dice < .68:
            self.drop(node)
        elif dice < .71:
            self.cells[node] = m.evict(self.cells[node])
        elif peer != node and not self.cut[node, peer]:
            self.send(node, peer)                    # a hint, or anti-entropy

    def run(self):
        for self.step in range(1, self.steps):
            self.take_step()
        for _ in range(4 if "fold" in self.has else 2):
            for a in range(NODES):
                for b in range(NODES):
                    if a != b:
                        self.send(a, b)
        self.cells = [m.expire(cell, self.step + SKEW) for cell in self.cells]
        self.check(len({cell.state() for cell in self.cells}) == 1,
                   "the replicas differ after everything was exchanged")
        left = self.held(self.cells[0])
        if "fold" not in self.has:  # what was dropped from a context may let an old version back
            self.check(not any(a in self.knows[b] for a in left for b in left),
                       "a superseded write came back")
        self.check(all(dot[1] > self.floor[0] for dot in left), "a flushed write was left")
        return self.broken


def no_cut(cell):
    return {d: v for d, v in cell.siblings.items() if v.value is not m.STUB}, cell.context


def fold_joining(context, most=m.CELL_MAX):
    """Joins the intervals of a node across their gaps, as far as folding would drop any."""
    if sum(map(len, context.values())) <= most:
        return context
    return RIGHT["fold"]({node: ((parts[0][0], parts[-1][1]),)
                          for node, parts in context.items() if parts}, most)


RIGHT = {name: getattr(m, name) for name in
         ("own_interval", "merge_version", "forget", "flush", "expire", "newest", "fold")}
MUTATIONS = {  # name -> variant that shows it, function of the model, what it becomes
    "naive": ("model", "own_interval", lambda cell, node, hlc: (0, hlc)),
    "nolive": ("model", "own_interval", lambda cell, node, hlc: RIGHT["own_interval"](
        m.Cell(cell.context, cell.siblings, True), node, hlc)),
    "nocut": ("model", "shown", no_cut),
    "keepcontext": ("model", "evict", lambda cell: m.Cell(cell.context, {}, cell.live)),
    "norefill": ("model", "merge_version", lambda mine, theirs: m.Version(
        mine.value, max(mine.register, theirs.register))),
    "register": ("registers", "merge_version", lambda mine, theirs: m.Version(
        theirs.value if mine.value is m.STUB else mine.value, mine.register)),
    "expirecontext": ("registers", "expire", lambda cell, now: m.Cell(
        cell.context, {d: v for d, v in cell.siblings.items()
                       if not m.NEVER < v.register.expires <= now}, cell.live)),
    "forgetkeep": ("forget-one", "forget", lambda cell, dot: m.Cell(
        cell.context, {d: v for d, v in cell.siblings.items() if d != dot}, False)),
    "forgetlive": ("forget-one", "forget", lambda cell, dot: m.Cell(
        m.cut(cell.context, dot), {d: v for d, v in cell.siblings.items() if d != dot},
        cell.live)),
    "foldjoin": ("fold", "fold", fold_joining),
    "noflush": ("flush", "flush", lambda cell, floor: cell),
    "covered": ("last-write-wins", "is_covered", lambda cell, dot, floor=0: False),
    "again": ("mixed", "put_again", lambda cell, node, hlc, new, refused: m.put_context(
        cell, node, hlc, new, {})),
    "time": ("flush", "newest", lambda cell, context=None: 0),
}


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ask.add_argument("--histories", type=int, default=200, help="of each variant")
    ask.add_argument("--steps", type=int, default=250)
    ask.add_argument("--variant", choices=sorted(VARIANTS))
    ask.add_argument("--break", dest="mutation", choices=sorted(MUTATIONS))
    args = ask.parse_args()
    variants = [args.variant] if args.variant else list(VARIANTS)
    if args.mutation:
        variants = variants if args.variant else [MUTATIONS[args.mutation][0]]
        setattr(m, *MUTATIONS[args.mutation][1:])
    found = collections.Counter()
    for variant in variants:
        for seed in range(args.histories):
            found.update(History(seed, args.steps, VARIANTS[variant]).run())
        print("%d histories of %d steps: %s" % (args.histories, args.steps, variant))
    for what, times in found.most_common():
        print("BROKEN %d times: %s" % (times, what))
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
