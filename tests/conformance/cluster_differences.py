"""What of these tests cannot pass against a node of a cluster, by nature, and why.

README says the same to users, under "A cluster".
"""

NO_UDP = "a node of a cluster has no UDP: a datagram cannot wait for other nodes' answers"
OWN_TIME = "debugtime moves the clock of one node, and any of them may decide"
TOKENS = "a state's token is a time and a hash, the same on all nodes: in one millisecond it does not rise"

# The name of a test, of a class, or of a file (as in test_udp.Udp), and the reason.
DIFFERENCES = {
    "test_udp": NO_UDP,
    "test_options.Listeners.test_a_udp_port_alone_is_the_tcp_port_too": NO_UDP,
    "test_options.Listeners.test_udp_only_where_asked": NO_UDP,
    "test_stats.Form.test_conns_over_tcp": NO_UDP,
    "test_text.TextTime": OWN_TIME,
    "test_meta.MetaTime": OWN_TIME,
    "test_text.Text.test_the_cas_number_rises_with_every_write": TOKENS,
    "test_binary.BinaryStore.test_set_answers_the_new_cas": TOKENS,
    "test_meta.Meta.test_the_cas_that_ms_returns_is_the_one_that_mg_shows": TOKENS,
    "test_config_file.ConfigFile.test_sighup_reads_the_policies_again":
        "each node reads its own file when it is told to, and the test tells one",
    "test_extended.DebugCommands.test_debug_evict_forgets_a_key":
        "what one node forgets, reads get from the others",
    "test_limits.FewLargeValues":
        "values on their way between nodes are memory, too: of such that are an eighth of -m one may "
        "find no room",
    "test_stats.Counters.test_bytes_and_items":
        "a delete leaves a tombstone, which counts as bytes until all have heard of it for long",
    "test_stats.Form.test_a_set_over_a_flushed_item_reclaims_it":
        "a set is merged into what a node holds, which takes no item's place",
    "test_watch.Watch.test_fetchers_are_the_default":
        "requests for different keys are logged as they are done, which may be in another order",
}


def reason(name):
    """Why the test of this name is left out, or None."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if ".".join(parts[:count]) in DIFFERENCES:
            return DIFFERENCES[".".join(parts[:count])]
    return None
