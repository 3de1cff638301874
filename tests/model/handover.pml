/* mutations: BREAK_EARLY BREAK_SENT BREAK_CHANGED BREAK_STALE BREAK_REFUSED BREAK_COMPARED BREAK_RESTART BREAK_NOT_OWNER BREAK_WARM
 *
 * Handover of a partition to a new owner (ring/handoff.c, ring/sync.c, ring/warming.c), for the
 * Spin model checker: three nodes, every order of events.
 *
 * Two copies, both needed for a write, one for a read (N 2, W 2, R 1).  The old table gives the
 * partition to A and B, the new one to B and C; each node hears of the new one some time.  Clients
 * write all the while, under whichever table their coordinator has; messages are late, doubled or
 * lost; C restarts empty once.  A cell is the set of the writes that it holds, and merging is their
 * union.
 *
 * Promises:
 *   1. An acknowledged write is held by somebody at all times: by two nodes unless C restarted.
 *   2. A drops its cell only when B and C hold all of it (or did, before C restarted).
 *   3. Who reads under the old table sees what was acknowledged under it.
 *   4. Who reads under the new table sees what was acknowledged under it, and what was acknowledged
 *      under the old one before C, if C is who answers, was compared with B.
 *   5. In the end B and C hold the same, all that was acknowledged, and A nothing.
 *
 * What the model says too: 4 cannot be had for writes that a coordinator with the old table
 * acknowledges later than that; they are readable at C once A, which hears of the new table, handed
 * them over.
 *
 * Each of these breaks a rule:
 *   BREAK_EARLY      one owner's acknowledgement is enough to drop
 *   BREAK_SENT       A drops what it sent
 *   BREAK_CHANGED    A drops a cell that changed since it was offered
 *   BREAK_STALE      an acknowledgement of an earlier offer counts for a later one
 *   BREAK_REFUSED    so does the answer of a node that does not know yet that it is an owner
 *   BREAK_COMPARED   C counts as warm before the cells came that comparing found
 *   BREAK_RESTART    an answer to a comparison from before the restart counts
 *   BREAK_NOT_OWNER  A's "don't have it" counts though A knows that it is no owner
 *   BREAK_WARM       so does C's while it warms */

#define A 0
#define B 1
#define C 2

#define WRITES           2
#define HAS_ALL(set, of) (((set) & (of)) == (of))

byte has[3];   /* a bit per write */
bit table[3];  /* 0: the old one, 1: the new one */

/* Writes: who coordinates, under which table, and what became of it. */
mtype = { IDLE, SENT, STORED, ACKNOWLEDGED, FAILED };
mtype state[WRITES] = IDLE;
byte coordinator[WRITES];
bit by_table[WRITES];
byte on_the_way[3]; /* to each node: writes to be stored; they may arrive again and again */
byte acked_old, acked_new;

/* A's handoff: 0 is none, since an empty cell is not offered. */
byte offered;
bit offer_number;
byte given[3];      /* cells on the way to B and C */
bit given_number[3];
bit answer[3];      /* an acknowledgement is on its way back */
bit answer_number[3];
bit has_acknowledged[3];

/* C compares with B. */
bit is_warm;
bit is_asking, was_answered;
byte told;          /* what B held then */
byte acked_then;    /* and what had been acknowledged */
byte seen;          /* what of that C must show, once it is warm */
bit has_restarted, is_late_answer;

#define OTHER(n) (table[n] == 0 -> 1 - (n) : 3 - (n))
#define ACKED    (acked_old | acked_new)

inline check()
{
    /* 1 */
    assert(HAS_ALL(has[A] | has[B] | has[C], ACKED));
    assert(has_restarted ||
           HAS_ALL((has[A] & has[B]) | (has[A] & has[C]) | (has[B] & has[C]), ACKED));
    /* 3 */
    assert(HAS_ALL(has[B], acked_old));
    assert(table[A] == 1 || HAS_ALL(has[A], acked_old));
#ifdef BREAK_NOT_OWNER
    assert(HAS_ALL(has[A], acked_old)); /* whoever reads still has the old table, say */
#endif
    /* 4 */
    assert(HAS_ALL(has[B], acked_new));
#ifdef BREAK_WARM
    assert(table[C] == 0 || HAS_ALL(has[C], acked_new | seen));
#else
    assert(!is_warm || HAS_ALL(has[C], acked_new | seen));
#endif
}

/* The first owner that is not warming coordinates, or the other one, which thinks so; both hold
 * what they wrote. */
inline write(w, n)
{
    state[w] = SENT;
    coordinator[w] = n;
    by_table[w] = table[n];
    has[n] = has[n] | (1 << w);
    on_the_way[OTHER(n)] = on_the_way[OTHER(n)] | (1 << w)
}

#define CAN_WRITE(w)        (state[w] == IDLE && ((w) == 0 || state[0] != IDLE))
#define IS_ON_THE_WAY(w, n) ((on_the_way[n] & (1 << (w))) != 0)

/* A store request arrives, to arrive again perhaps, or is lost. */
inline store(w, n)
{
    if
    :: (has[n] & (1 << w)) == 0 -> has[n] = has[n] | (1 << w)
    :: (has[n] & (1 << w)) != 0 && state[w] == SENT && coordinator[w] != n -> state[w] = STORED
    :: on_the_way[n] = on_the_way[n] & ~(1 << w)
    fi
}

inline acknowledge(w)
{
    state[w] = ACKNOWLEDGED;
    if
    :: by_table[w] == 0 -> acked_old = acked_old | (1 << w)
    :: else -> acked_new = acked_new | (1 << w)
    fi
}

inline give(n)
{
    given[n] = offered;
    given_number[n] = offer_number
}

inline receive(n)
{
    if
    :: table[n] == 1 ->
        has[n] = has[n] | given[n];
        answer[n] = 1;
        answer_number[n] = given_number[n]
    :: else ->
#ifdef BREAK_REFUSED
        answer[n] = 1;
        answer_number[n] = given_number[n]
#else
        skip
#endif
    fi;
    given[n] = 0
}

inline hear(n)
{
#ifndef BREAK_STALE
    if
    :: answer_number[n] == offer_number -> has_acknowledged[n] = 1
    :: else -> skip
    fi;
#else
    has_acknowledged[n] = 1;
#endif
    answer[n] = 0
}

inline end_offer()
{
    offered = 0;
    offer_number = 1 - offer_number;
    has_acknowledged[B] = 0;
    has_acknowledged[C] = 0
}

#ifdef BREAK_EARLY
#define MAY_DROP (has_acknowledged[B] || has_acknowledged[C])
#elif defined(BREAK_SENT)
#define MAY_DROP true
#else
#define MAY_DROP (has_acknowledged[B] && has_acknowledged[C])
#endif

inline drop()
{
#ifndef BREAK_CHANGED
    if
    :: has[A] == offered ->
        has[A] = 0;
        /* 2 */
        assert(HAS_ALL(has[B], offered) && (has_restarted || HAS_ALL(has[C], offered)))
    :: else -> skip
    fi;
#else
    has[A] = 0;
#endif
    end_offer()
}

inline restart()
{
    has_restarted = 1;
    if /* nobody hears any more what became of the writes that it coordinated */
    :: coordinator[0] == C && (state[0] == SENT || state[0] == STORED) -> state[0] = FAILED
    :: else -> skip
    fi;
    if
    :: coordinator[1] == C && (state[1] == SENT || state[1] == STORED) -> state[1] = FAILED
    :: else -> skip
    fi;
    has[C] = 0;
    is_warm = 0;
    seen = 0;
    is_late_answer = was_answered;
    is_asking = 0
}

active proctype cluster()
{
    do
    /* A node hears of the new table. */
    :: atomic { table[A] == 0 -> table[A] = 1; check() }
    :: atomic { table[B] == 0 -> table[B] = 1; check() }
    :: atomic { table[C] == 0 -> table[C] = 1; check() }

    /* A client writes, the first write first, at an owner: C only when it is warm. */
    :: CAN_WRITE(0) && table[A] == 0 -> atomic { write(0, A); check() }
    :: CAN_WRITE(1) && table[A] == 0 -> atomic { write(1, A); check() }
    :: CAN_WRITE(0) -> atomic { write(0, B); check() }
    :: CAN_WRITE(1) -> atomic { write(1, B); check() }
    :: CAN_WRITE(0) && table[C] == 1 && is_warm -> atomic { write(0, C); check() }
    :: CAN_WRITE(1) && table[C] == 1 && is_warm -> atomic { write(1, C); check() }
    :: IS_ON_THE_WAY(0, A) -> atomic { store(0, A); check() }
    :: IS_ON_THE_WAY(0, B) -> atomic { store(0, B); check() }
    :: IS_ON_THE_WAY(0, C) -> atomic { store(0, C); check() }
    :: IS_ON_THE_WAY(1, A) -> atomic { store(1, A); check() }
    :: IS_ON_THE_WAY(1, B) -> atomic { store(1, B); check() }
    :: IS_ON_THE_WAY(1, C) -> atomic { store(1, C); check() }
    :: state[0] == STORED -> atomic { acknowledge(0); check() }
    :: state[1] == STORED -> atomic { acknowledge(1); check() }
    :: state[0] == SENT || state[0] == STORED -> state[0] = FAILED /* for all the client knows */
    :: state[1] == SENT || state[1] == STORED -> state[1] = FAILED

    /* A, which is no owner any more, hands its cell over. */
    :: atomic { table[A] == 1 && has[A] != 0 && offered == 0 -> offered = has[A]; check() }
    :: atomic { offered != 0 && !has_acknowledged[B] && given[B] == 0 && !answer[B] -> give(B) }
    :: atomic { offered != 0 && !has_acknowledged[C] && given[C] == 0 && !answer[C] -> give(C) }
    :: atomic { given[B] != 0 -> receive(B); check() }
    :: atomic { given[C] != 0 -> receive(C); check() }
    :: atomic { answer[B] -> hear(B) }
    :: atomic { answer[C] -> hear(C) }
    :: atomic { offered != 0 && MAY_DROP -> drop(); check() }
    :: atomic { offered != 0 && has[A] != offered -> end_offer() } /* it starts anew */

    /* C warms: it asks B, and B's cells come. */
    :: atomic {
        table[C] == 1 && !is_warm && !is_asking && !was_answered -> is_asking = 1;
#ifdef BREAK_COMPARED
        is_warm = 1;
        seen = ACKED;
        check()
#endif
    }
    :: atomic {
        is_asking && !was_answered && table[B] == 1 ->
        was_answered = 1;
        told = has[B];
        acked_then = ACKED
    }
    :: atomic {
        was_answered ->
        was_answered = 0;
        is_asking = 0;
#ifndef BREAK_RESTART
        if
        :: is_late_answer -> skip
        :: else ->
#endif
            has[C] = has[C] | told;
            seen = acked_then;
            is_warm = 1
#ifndef BREAK_RESTART
        fi
#endif
        ;
        is_late_answer = 0;
        told = 0;
        acked_then = 0;
        check()
    }
    /* Later they are compared again whenever they differ. */
    :: atomic {
        is_warm && table[B] == 1 && has[B] != has[C] ->
        has[B] = has[B] | has[C];
        has[C] = has[B];
        check()
    }
    :: atomic { !has_restarted && table[C] == 1 -> restart(); check() }

    /* 5: nothing can happen any more. */
    :: atomic {
        timeout ->
        assert(table[A] == 1 && table[B] == 1 && table[C] == 1);
        assert(has[A] == 0 && has[B] == has[C] && HAS_ALL(has[B], ACKED));
        assert(is_warm);
        break
    }
    od
}
