/* The state file: what is written is read again, and nothing else is taken for it. */
#include "server/node_inside.h"
#include "server/settings.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_ROOM (1 << 20)

/* As much of a node as the file needs. */
struct test_node {
    struct cluster *cluster;
    struct node node;
    struct node_inside inside;
};

static char folder[] = "/tmp/test_node_stateXXXXXX", path[64];

static struct test_node *start(void)
{
    struct test_node *test = calloc(1, sizeof *test);

    assert_non_null(test);
    test->cluster = cluster_new(NULL, 1);
    assert_non_null(test->cluster);
    test->node.cluster = test->cluster;
    test->node.inside = &test->inside;
    membership_init(&test->node.membership);
    return test;
}

static void stop(struct test_node *test)
{
    cluster_free(test->cluster);
    free(test);
}

static void add_member(struct membership *membership, node_id id, const char *name)
{
    struct member_record record = {.id = id, .incarnation = 1000 + id, .weight = 100};

    assert_true(
        member_name_set(&record.name, (struct slice){(const unsigned char *)name, strlen(name)}));
    assert_true(member_address_set(&record.address, SLICE("127.0.0.1:7001/11211")));
    assert_int_equal(membership_join(membership, &record, NODE_NONE), MEMBERSHIP_DONE);
}

static int set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/state", folder);
    settings.state_file = path;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    int failed = rmdir(folder); /* nothing else was left in it */
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    return failed;
}

static size_t read_state(unsigned char *bytes)
{
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, bytes, FILE_ROOM);

    close(fd);
    assert_true(size > 0);
    return (size_t)size;
}

static void write_state(const unsigned char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

/* A file with two members. */
static void save_two(void)
{
    struct test_node *test = start();
    const struct siphash_key key = {"0123456789abcdef"};

    add_member(&test->node.membership, 7, "a");
    add_member(&test->node.membership, 9, "b");
    cluster_set_context_key(test->cluster, &key);
    node_state_save(&test->node);
    stop(test);
}

static void what_was_saved_is_loaded_again(void **state)
{
    struct test_node *test;
    struct stat status;

    (void)state;
    save_two();
    test = start();
    assert_true(node_state_load(&test->node));
    assert_int_equal(test->node.membership.count, 2);
    assert_int_equal(test->node.membership.records[1].id, 9);
    assert_int_equal(test->node.membership.records[1].incarnation, 1009);
    assert_memory_equal(cluster_context_key(test->cluster)->bytes, "0123456789abcdef", 16);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600); /* the key is nobody else's concern */
    stop(test);
}

static void without_a_file_a_node_knows_nobody(void **state)
{
    struct test_node *test = start();

    (void)state;
    assert_true(node_state_load(&test->node));
    assert_int_equal(test->node.membership.count, 0);
    stop(test);
}

static void it_is_written_when_the_members_change_and_only_then(void **state)
{
    struct test_node *test = start();

    (void)state;
    node_state_save(&test->node);
    assert_int_not_equal(access(path, F_OK), 0); /* nobody is worth no file */
    add_member(&test->node.membership, 7, "a");
    node_state_save(&test->node);
    assert_int_equal(unlink(path), 0);
    membership_saw_clock(&test->node.membership, 7, hlc_of_ms(5));
    node_state_save(&test->node);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(membership_leave(&test->node.membership, 7), MEMBERSHIP_DONE);
    node_state_save(&test->node);
    assert_int_equal(access(path, F_OK), 0);
    stop(test);
}

static void a_file_that_was_cut_is_refused(void **state)
{
    unsigned char *bytes = malloc(FILE_ROOM);

    (void)state;
    save_two();
    size_t size = read_state(bytes);
    for (size_t kept = 0; kept < size; kept++) {
        struct test_node *test = start();
        write_state(bytes, kept);
        assert_false(node_state_load(&test->node));
        stop(test);
    }
    free(bytes);
}

static void a_file_with_any_byte_changed_is_refused(void **state)
{
    unsigned char *bytes = malloc(FILE_ROOM);

    (void)state;
    save_two();
    size_t size = read_state(bytes);
    for (size_t i = 0; i < size; i++) {
        struct test_node *test = start();
        bytes[i] ^= 0x10;
        write_state(bytes, size);
        bytes[i] ^= 0x10;
        assert_false(node_state_load(&test->node));
        stop(test);
    }
    free(bytes);
}

static void the_file_of_a_cluster_with_other_partitions_is_refused(void **state)
{
    struct test_node *test;

    (void)state;
    save_two();
    settings.partition_bits--;
    test = start();
    assert_false(node_state_load(&test->node));
    stop(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_saved_is_loaded_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_file_a_node_knows_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_written_when_the_members_change_and_only_then, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_was_cut_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_with_any_byte_changed_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_of_a_cluster_with_other_partitions_is_refused,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
