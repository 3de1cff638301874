/* How members are named: their addresses as text, and their names or ids. */
#include "server/node_inside.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct slice slice_of(const char *text)
{
    return (struct slice){(const unsigned char *)text, strlen(text)};
}

static bool parse(const char *text, struct node_address *address)
{
    struct member_address member;

    assert_true(member_address_set(&member, slice_of(text)));
    return node_address_parse(&member, address);
}

static void an_address_has_a_port_for_peers_and_one_for_clients(void **state)
{
    struct node_address address;

    (void)state;
    assert_true(parse("192.0.2.7:7001/11211", &address));
    assert_string_equal(address.host, "192.0.2.7");
    assert_int_equal(address.peer_port, 7001);
    assert_int_equal(address.client_port, 11211);
    assert_true(parse("[2001:db8::1]:1/0", &address));
    assert_string_equal(address.host, "2001:db8::1");
    assert_int_equal(address.peer_port, 1);
    assert_int_equal(address.client_port, 0);
}

static void what_another_node_made_up_is_no_address(void **state)
{
    static const char *const wrong[] = {
        "",      "192.0.2.7", "192.0.2.7:7001", "/",         ":1/2", "a:/1",
        "a:x/1", "a:1/x",     "a:70000/1",      "a:1/70000", "[]:/"};
    struct sockaddr_storage socket_address;
    struct node_address address;
    struct member_address name;
    socklen_t bytes;

    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(parse(wrong[i], &address));
    /* A name would have to be looked up, which may take long. */
    assert_true(member_address_set(&name, slice_of("host.example:7001/11211")));
    assert_false(node_address_socket(&name, &socket_address, &bytes));
}

static void a_socket_is_connected_to_the_port_for_peers(void **state)
{
    struct sockaddr_storage found;
    const struct sockaddr_in *in = (const void *)&found;
    struct member_address address;
    socklen_t bytes;

    (void)state;
    assert_true(member_address_set(&address, slice_of("127.0.0.9:7001/11211")));
    assert_true(node_address_socket(&address, &found, &bytes));
    assert_int_equal(bytes, sizeof *in);
    assert_int_equal(in->sin_family, AF_INET);
    assert_int_equal(ntohs(in->sin_port), 7001);
    assert_int_equal(ntohl(in->sin_addr.s_addr), 0x7f000009);
}

static void add_member(struct membership *membership, node_id id, const char *name)
{
    struct member_record record = {.id = id, .incarnation = 1, .weight = 100};

    assert_true(member_name_set(&record.name, slice_of(name)));
    assert_int_equal(membership_join(membership, &record, NODE_NONE), MEMBERSHIP_DONE);
}

static void a_member_is_found_by_name_then_by_id(void **state)
{
    struct node *node = calloc(1, sizeof *node);

    (void)state;
    assert_non_null(node);
    membership_init(&node->membership);
    add_member(&node->membership, 7, "a");
    add_member(&node->membership, 9, "7");
    assert_int_equal(node_find(node, slice_of("a")), 7);
    assert_int_equal(node_find(node, slice_of("7")), 9);
    assert_int_equal(node_find(node, slice_of("9")), 9);
    assert_int_equal(node_find(node, slice_of("8")), NODE_NONE);
    assert_int_equal(node_find(node, slice_of("")), NODE_NONE);
    assert_int_equal(node_find(node, slice_of("99999999999999999999999")), NODE_NONE);
    assert_int_equal(membership_remove(&node->membership, 7), MEMBERSHIP_DONE);
    assert_int_equal(node_find(node, slice_of("a")), NODE_NONE);
    free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_a_port_for_peers_and_one_for_clients),
        cmocka_unit_test(what_another_node_made_up_is_no_address),
        cmocka_unit_test(a_socket_is_connected_to_the_port_for_peers),
        cmocka_unit_test(a_member_is_found_by_name_then_by_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
