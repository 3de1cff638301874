/* The claimant's table change (ring/claimant.c), for the Spin model checker: three nodes, one
 * partition, every order of events.
 *
 * A partition has two of the three nodes as owners; the operator wants other ones, up to ACTS times.
 * Meanwhile links are cut (one way or both), opinions about who can be reached lag behind, what pings
 * said is old, and a node restarts empty.  In the end all links are good.
 *
 * Promises:
 *   1. A table is published only on one that a majority held.
 *   2. And only when all have been warm under that one, whom the claimant can reach or knows to have
 *      got something by it; of a restart that it knows, only what was since counts.
 *   3. No node goes back to an older table.
 *   4. When nothing is left to happen all have one table, and it is the one wanted last.
 *   5. That comes after a few tables: no two claimants undo each other's.
 *
 * tests/model/check_spin.sh reads the lines that follow.  What holds (the last of them takes a
 * minute and a gigabyte, and is left out of a plain `make check`), and what breaks a promise:
 *   holds       -DACTS=2 -DCUTS=0 -DRESTARTS=0
 *   holds       -DACTS=1 -DCUTS=1 -DRESTARTS=0
 *   holds       -DACTS=1 -DCUTS=0 -DRESTARTS=1 -DWHO=2
 *   holds-long  -DACTS=1 -DCUTS=0 -DRESTARTS=1 -DWHO=0
 *   holds-long  -DACTS=2 -DCUTS=1 -DRESTARTS=0
 *   breaks      -DBREAK_MAJORITY -DACTS=2 -DCUTS=1 -DRESTARTS=0      a table needs no majority
 *   breaks      -DBREAK_MEMBERSHIP -DACTS=1 -DCUTS=1 -DRESTARTS=0    or one that knows other acts
 *   breaks      -DBREAK_WARM -DACTS=2 -DCUTS=0 -DRESTARTS=0          the next table does not wait
 *   breaks-long -DBREAK_ABSENT -DACTS=2 -DCUTS=1 -DRESTARTS=0        not for who is out of reach
 *   breaks      -DBREAK_RESTART -DACTS=1 -DCUTS=0 -DRESTARTS=1 -DWHO=2   old lives still count
 *   breaks      -DBREAK_EPOCH -DACTS=1 -DCUTS=0 -DRESTARTS=0         the lower epoch wins
 *   breaks      -DBREAK_LOSER -DACTS=2 -DCUTS=1 -DRESTARTS=0         an act counts as done at once
 *   breaks-long -DBREAK_DIGEST -DACTS=2 -DCUTS=0 -DRESTARTS=1 -DWHO=0    a version is one table */

#ifndef WHO
#define WHO 0 /* who restarts */
#endif
#define N 3
#ifndef EPOCHS
#define EPOCHS 4 /* more tables than these never come */
#endif

/* A table is a number, and the later one is higher: epoch, claimant, content.  The content is the
 * node that is no owner; as an owner, it is the one who gains by the next table. */
#define TABLE(epoch, who, content) ((epoch) * 9 + (who) * 3 + (content))
#define EPOCH(table)               ((table) / 9)
#define CONTENT(table)             ((table) % 3)
#define WANTED(acts)               (((acts) + 2) % 3)

#ifdef BREAK_EPOCH
#define IS_NEWER(a, b) ((a) > 0 && ((b) == 0 || (a) < (b)))
#elif defined(BREAK_DIGEST)
#define IS_NEWER(a, b) ((a) / 3 > (b) / 3)
#else
#define IS_NEWER(a, b) ((a) > (b))
#endif

#define AT(i, j)   ((i) * N + (j))
#define BIT(i)     (1 << (i))
#define COUNT(set) (((set) & 1) + ((set) / 2 & 1) + ((set) / 4 & 1))

/* What each node has. */
byte table[N];
bit warm[N];
byte acts[N];        /* its membership: how many of the acts it knows */
byte incarnation[N]; /* 0, then 1 after a restart */
byte record[N * N];  /* its membership: the incarnations it knows */
byte gained[N];      /* who got something by its table, and was not warm since, as it knows: bits */
#ifdef BREAK_LOSER
byte served[N];
#endif

/* What each knows from pings of the others, and thinks of them. */
byte said_table[N * N];
byte said_acts[N * N];
bit said_warm[N * N];
byte said_incarnation[N * N];
bit reach[N * N];

/* The world. */
bit cut[N * N]; /* from i to j */
byte cuts, restarts, acted;
bit is_healed;

/* What there was: who ever held a table, or was warm under it, before and after a restart. */
byte held[(EPOCHS + 1) * 9];
byte was_warm[(EPOCHS + 1) * 9];
byte was_warm_again[(EPOCHS + 1) * 9];

#define IS_OPEN(i, j) (!cut[AT(i, j)] && !cut[AT(j, i)])

inline note_warm(i)
{
    if
    :: incarnation[i] == 0 -> was_warm[table[i]] = was_warm[table[i]] | BIT(i)
    :: else -> was_warm_again[table[i]] = was_warm_again[table[i]] | BIT(i)
    fi
}

inline adopt(i, new)
{
    assert(EPOCH(new) >= EPOCH(table[i])); /* promise 3 */
    if
    :: table[i] > 0 && CONTENT(new) != CONTENT(table[i]) ->
        gained[i] = (gained[i] | BIT(CONTENT(table[i]))) & ~BIT(CONTENT(new))
    :: else -> gained[i] = gained[i] & ~BIT(CONTENT(new))
    fi;
    warm[i] = warm[i] && CONTENT(table[i]) != i; /* who gains warms */
    table[i] = new;
    held[new] = held[new] | BIT(i);
    if
    :: warm[i] -> note_warm(i)
    :: else
    fi
}

/* Whether i sees j have its table, and its membership. */
#ifdef BREAK_MEMBERSHIP
#define KNOWS(i, j) true
#else
#define KNOWS(i, j) (said_acts[AT(i, j)] == acts[i])
#endif
#define HOLDS(i, j)                                                                                \
    (i == j || (reach[AT(i, j)] && said_table[AT(i, j)] == table[i] && KNOWS(i, j)))

#ifdef BREAK_MAJORITY
#define HAS_MAJORITY(i) true
#else
#define HAS_MAJORITY(i) (HOLDS(i, 0) + HOLDS(i, 1) + HOLDS(i, 2) >= 2)
#endif

#ifdef BREAK_RESTART
#define IS_OF_NOW(i, j) true
#else
#define IS_OF_NOW(i, j) (said_incarnation[AT(i, j)] >= record[AT(i, j)])
#endif

#ifdef BREAK_ABSENT
#define IS_AWAITED(i, j) false
#else
#define IS_AWAITED(i, j) ((gained[i] & BIT(j)) != 0)
#endif

/* Whether i need not wait for j. */
#ifdef BREAK_WARM
#define IS_DONE(i, j) true
#else
#define IS_DONE(i, j)                                                                              \
    (i == j -> warm[i] :                                                                           \
     (reach[AT(i, j)] -> (said_warm[AT(i, j)] && said_table[AT(i, j)] == table[i] &&               \
                          IS_OF_NOW(i, j)) :                                                       \
                         !IS_AWAITED(i, j)))
#endif

#define IS_CLAIMANT(i) ((i < 1 || !reach[AT(i, 0)]) && (i < 2 || !reach[AT(i, 1)]))

#ifdef BREAK_LOSER
#define NEEDS_TABLE(i) (WANTED(acts[i]) != CONTENT(table[i]) && served[i] < acts[i])
#else
#define NEEDS_TABLE(i) (WANTED(acts[i]) != CONTENT(table[i]))
#endif

#define WAS_WARM(i, j)                                                                             \
    (((record[AT(i, j)] == 0 -> was_warm[table[i]] | was_warm_again[table[i]] :                    \
                                was_warm_again[table[i]]) & BIT(j)) != 0)

/* Promise 2 of one other node. */
#define IS_FAIR(i, j) ((!reach[AT(i, j)] && (gained[i] & BIT(j)) == 0) || WAS_WARM(i, j))

inline publish(i, new)
{
    assert(COUNT(held[table[i]]) >= 2);                              /* promise 1 */
    assert(IS_FAIR(i, 0) && IS_FAIR(i, 1) && IS_FAIR(i, 2));         /* promise 2 */
    assert(EPOCH(table[i]) < EPOCHS);
    new = TABLE(EPOCH(table[i]) + 1, i, WANTED(acts[i]));
#ifdef BREAK_LOSER
    served[i] = acts[i];
#endif
    adopt(i, new);
    new = 0
}

proctype node(byte i)
{
    byte new = 0;

end:
    do
    :: atomic {
        table[i] > 0 && IS_CLAIMANT(i) && NEEDS_TABLE(i) && HAS_MAJORITY(i) &&
        IS_DONE(i, 0) && IS_DONE(i, 1) && IS_DONE(i, 2) -> publish(i, new)
    }
    :: atomic {
        table[i] > 0 && !warm[i] ->
        warm[i] = 1;
        gained[i] = gained[i] & ~BIT(i);
        note_warm(i)
    }
    :: atomic { /* an operator's act, where all before are known; two nodes know of it, so that a
                   restart does not undo it */
        acted < ACTS && acts[i] == acted && acts[(i + 1) % N] == acted ->
        acted++;
        acts[i] = acted;
        acts[(i + 1) % N] = acted
    }
    od
}

/* Whose pings i goes by.  Node 2 could be the claimant only where it reaches nobody, and so never
 * has a majority; node 1 is it only while it does not reach node 0. */
#define MATTERS(i, j) (i == 0 || (i == 1 && j == 2))

/* What i hears of j. */
proctype link(byte i; byte j)
{
end:
    do
    :: atomic { /* a ping */
        MATTERS(i, j) && !cut[AT(j, i)] && incarnation[j] >= record[AT(i, j)] &&
        (said_table[AT(i, j)] != table[j] || said_acts[AT(i, j)] != acts[j] || said_warm[AT(i, j)] != warm[j] ||
         said_incarnation[AT(i, j)] != incarnation[j]) ->
        said_table[AT(i, j)] = table[j];
        said_acts[AT(i, j)] = acts[j];
        said_warm[AT(i, j)] = warm[j];
        said_incarnation[AT(i, j)] = incarnation[j];
    }
    :: atomic { /* and one that shows who needs not be waited for any more */
        !cut[AT(j, i)] && i != 2 && (gained[i] & BIT(j)) != 0 && warm[j] && table[i] == table[j] ->
        gained[i] = gained[i] & ~BIT(j)
    }
    :: atomic { /* it has a newer table: asked for, and answered */
        IS_OPEN(i, j) && table[j] > 0 && IS_NEWER(table[j], table[i]) -> adopt(i, table[j])
    }
    :: atomic { /* it has another membership */
        IS_OPEN(i, j) && (acts[i] < acts[j] || record[AT(i, 0)] < record[AT(j, 0)] ||
                          record[AT(i, 1)] < record[AT(j, 1)] ||
                          record[AT(i, 2)] < record[AT(j, 2)]) ->
        acts[i] = (acts[i] < acts[j] -> acts[j] : acts[i]);
        record[AT(i, 0)] = record[AT(i, 0)] | record[AT(j, 0)];
        record[AT(i, 1)] = record[AT(i, 1)] | record[AT(j, 1)];
        record[AT(i, 2)] = record[AT(i, 2)] | record[AT(j, 2)]
    }
    :: atomic { /* liveness sees how it is */
        i != 2 && reach[AT(i, j)] != IS_OPEN(i, j) -> reach[AT(i, j)] = IS_OPEN(i, j)
    }
    od
}

inline forget(i, j)
{
    said_table[AT(i, j)] = 0;
    said_acts[AT(i, j)] = 0;
    said_warm[AT(i, j)] = 0;
    said_incarnation[AT(i, j)] = 0;
    reach[AT(i, j)] = (i == j);
    record[AT(i, j)] = (i == j)
}

inline restart(i)
{
    restarts++;
    incarnation[i] = 1;
    table[i] = 0;
    warm[i] = 0;
    acts[i] = 0;
    gained[i] = 0;
#ifdef BREAK_LOSER
    served[i] = 0;
#endif
    forget(i, 0);
    forget(i, 1);
    forget(i, 2)
}

proctype trouble()
{
    byte i, j;

    do
    :: atomic {
        cuts < CUTS ->
        if :: i = 0 :: i = 1 :: i = 2 fi;
        j = i;
        if :: j = (i + 1) % 3 :: j = (i + 2) % 3 fi;
        cut[AT(i, j)] = 1;
        if :: cut[AT(j, i)] = 1 :: skip fi; /* both ways, or one */
        cuts++;
        i = 0;
        j = 0
    }
    :: atomic {
        restarts < RESTARTS ->
        restart(WHO)
    }
    :: break
    od;
    atomic {
        cut[1] = 0; cut[2] = 0; cut[3] = 0; cut[5] = 0; cut[6] = 0; cut[7] = 0;
        is_healed = 1;
        cuts = CUTS;
        restarts = RESTARTS
    }
}

init {
    byte i;

    atomic {
        for (i : 0 .. N - 1) {
            table[i] = TABLE(1, 0, WANTED(0));
            warm[i] = 1;
        }
        for (i : 0 .. N * N - 1) {
            reach[i] = 1;
        }
        held[TABLE(1, 0, WANTED(0))] = 7;
        was_warm[TABLE(1, 0, WANTED(0))] = 7;
        i = 0;
        run node(0); run node(1); run node(2);
        run link(0, 1); run link(0, 2);
        run link(1, 0); run link(1, 2);
        run link(2, 0); run link(2, 1);
        run trouble()
    }
    timeout -> /* nothing is left to happen */
        assert(is_healed);
        assert(acts[0] == acted && acts[1] == acted && acts[2] == acted);
        assert(table[0] == table[1] && table[1] == table[2]); /* promise 4 */
        assert(CONTENT(table[0]) == WANTED(acted))
}
