/* For test_requests and the sources of server/request*.c as compiled into it: the cluster that they
 * ask is the test's (request_nodes.c), not the one of server/cluster.c, which the rest of the
 * server goes on with. */
#ifndef TESTS_UNIT_REQUESTS_CLUSTER_H
#define TESTS_UNIT_REQUESTS_CLUSTER_H

#define cluster_secret       told_secret
#define cluster_tls          told_tls
#define cluster_view_hold    told_view_hold
#define cluster_view_release told_view_release
#define cluster_note_reply   told_note_reply
#define cluster_note_dot     told_note_dot
#define cluster_note_latency told_note_latency
#define cluster_note_clock   told_note_clock
#define hint_reserve         told_hint_reserve
#define hint_unreserve       told_hint_unreserve
#define hint_add             told_hint_add

#endif
