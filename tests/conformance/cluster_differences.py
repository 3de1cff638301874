"""What of these tests cannot pass against a node of a cluster, by nature, and why.

README's table "In a cluster" says the same to users.
"""

# The name of a test, of a class, or of a file (as in test_udp.Udp), and the reason.
DIFFERENCES = {
    "test_udp": "a node of a cluster has no UDP: a datagram cannot wait for other nodes' answers",
}


def reason(name):
    """Why the test of this name is left out, or None."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if ".".join(parts[:count]) in DIFFERENCES:
            return DIFFERENCES[".".join(parts[:count])]
    return None
