#include "server/peer_greeting.h"
#include <assert.h>

#define HELLO_BYTES_MAX 128

/* What a MAC is for; with the version, so that another one gives other proofs. */
enum mac_use { MAC_PROOF = 'p', MAC_KEY = 'k' };

/* Over the use, the role of who proves or sends, and both HELLOs. */
static bool mac_of(const struct peer_greeting *greeting, enum mac_use use, enum peer_role role,
                   unsigned char mac[PEER_MAC_BYTES])
{
    struct peer_message connects = {.type = PEER_HELLO}, accepts = {.type = PEER_HELLO};
    unsigned char head[HELLO_BYTES_MAX], other_head[HELLO_BYTES_MAX];
    unsigned char label[2] = {(unsigned char)use, (unsigned char)role};
    bool connected = greeting->role == PEER_CONNECTS;

    connects.hello = connected ? greeting->own : greeting->theirs;
    accepts.hello = connected ? greeting->theirs : greeting->own;
    assert(peer_head_bytes(&connects) <= HELLO_BYTES_MAX);
    assert(peer_head_bytes(&accepts) <= HELLO_BYTES_MAX);
    const struct slice parts[] = {
        SLICE("ringcached peer"),
        {label, sizeof label},
        {head, peer_encode_head(&connects, head)},
        {other_head, peer_encode_head(&accepts, other_head)},
    };
    return peer_secret_mac(greeting->secret, parts, 4, mac);
}

static enum peer_role other_role(enum peer_role role)
{
    return role == PEER_CONNECTS ? PEER_ACCEPTS : PEER_CONNECTS;
}

static void fail(struct peer_greeting *greeting, struct peer_greeting_effects *effects,
                 const char *failure)
{
    greeting->state = GREETING_FAILED;
    effects->failure = failure;
    effects->has_answer = true;
    effects->answer.type = PEER_REFUSED;
    effects->answer.refused.reason =
        (struct slice){(const unsigned char *)failure, strlen(failure)};
}

static void prove(struct peer_greeting *greeting, struct peer_greeting_effects *effects)
{
    effects->has_answer = true;
    effects->answer.type = PEER_PROOF;
    if (!mac_of(greeting, MAC_PROOF, greeting->role, effects->answer.proof.mac))
        fail(greeting, effects, "the proof of the secret cannot be computed");
}

/* Both sides know each other: makes the keys. */
static void finish(struct peer_greeting *greeting, struct peer_greeting_effects *effects)
{
    unsigned char send[PEER_MAC_BYTES], receive[PEER_MAC_BYTES];

    greeting->state = GREETING_DONE;
    if (greeting->secret == NULL)
        return;
    if (!mac_of(greeting, MAC_KEY, greeting->role, send) ||
        !mac_of(greeting, MAC_KEY, other_role(greeting->role), receive)) {
        fail(greeting, effects, "the keys of the link cannot be computed");
        return;
    }
    memcpy(greeting->send_key.bytes, send, SIPHASH_KEY_BYTES);
    memcpy(greeting->receive_key.bytes, receive, SIPHASH_KEY_BYTES);
}

/* Why these two cannot talk; NULL if they can. */
static const char *find_fault(const struct peer_hello *own, const struct peer_hello *theirs)
{
    if (theirs->version != own->version)
        return "the nodes speak different versions of the peer protocol: upgrade the older one";
    if (theirs->has_secret && !own->has_secret)
        return "the other node has a cluster secret and this one has none: give both the same "
               "--cluster-secret-file";
    if (!theirs->has_secret && own->has_secret)
        return "this node has a cluster secret and the other one has none: give both the same "
               "--cluster-secret-file";
    if (theirs->to != NODE_NONE && own->from != NODE_NONE && theirs->to != own->from)
        return "this is another node than the one that is meant: it has got a new identity, or "
               "the address belongs to another node by now";
    if (own->to != NODE_NONE && theirs->from != own->to)
        return "another node answers at this address than the one that is meant";
    if (theirs->from != NODE_NONE && theirs->from == own->from)
        return "the other node has this node's own identity: it is this node, or a copy of it";
    return NULL;
}

static void on_hello(struct peer_greeting *greeting, const struct peer_hello *theirs,
                     struct peer_greeting_effects *effects)
{
    const char *fault = find_fault(&greeting->own, theirs);

    greeting->theirs = *theirs;
    if (fault != NULL) {
        fail(greeting, effects, fault);
        return;
    }
    if (greeting->role == PEER_ACCEPTS) {
        greeting->own.use = theirs->use;
        effects->has_answer = true;
        effects->answer.type = PEER_HELLO;
        effects->answer.hello = greeting->own;
    } else if (greeting->secret != NULL) {
        prove(greeting, effects);
    }
    if (greeting->state == GREETING_FAILED)
        return;
    if (greeting->secret != NULL)
        greeting->state = GREETING_PROOF;
    else
        finish(greeting, effects);
}

static void on_proof(struct peer_greeting *greeting, const struct peer_proof *proof,
                     struct peer_greeting_effects *effects)
{
    unsigned char expected[PEER_MAC_BYTES];

    if (!mac_of(greeting, MAC_PROOF, other_role(greeting->role), expected)) {
        fail(greeting, effects, "the proof of the secret cannot be checked");
        return;
    }
    if (!peer_mac_equal(expected, proof->mac)) {
        fail(greeting, effects,
             "the two nodes have different cluster secrets: give both the same "
             "--cluster-secret-file");
        return;
    }
    if (greeting->role == PEER_ACCEPTS)
        prove(greeting, effects);
    if (greeting->state != GREETING_FAILED)
        finish(greeting, effects);
}

void peer_greeting_init(struct peer_greeting *greeting, enum peer_role role,
                        const struct peer_hello *own, const struct peer_secret *secret)
{
    assert(own->has_secret == (secret != NULL));
    *greeting = (struct peer_greeting){.role = role, .secret = secret, .own = *own};
}

void peer_greeting_step(struct peer_greeting *greeting, const struct peer_message *message,
                        struct peer_greeting_effects *effects)
{
    effects->has_answer = false;
    effects->failure = NULL;
    if (greeting->state == GREETING_HELLO && message->type == PEER_HELLO)
        on_hello(greeting, &message->hello, effects);
    else if (greeting->state == GREETING_PROOF && message->type == PEER_PROOF)
        on_proof(greeting, &message->proof, effects);
    else
        fail(greeting, effects, "the other node does not greet as a node does");
}
