"""ringctl: what it asks, what it shows, what it exits with."""

import base64
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import tempfile
import unittest

from fake_server import FakeServer, stats

RINGCTL = os.path.join(os.path.dirname(os.environ.get("RINGCACHED", "./ringcached")), "ringctl")
SOURCE_DIR = os.path.dirname(os.path.abspath(__file__))
COMPLETION = os.path.join(SOURCE_DIR, "..", "..", "ctl", "completion", "ringctl")
REFUSED, USAGE, UNREACHABLE, LATE = 1, 2, 3, 4


def run(server, *words, stdin=b"", env=None):
    """The exit code, stdout and stderr of a ringctl."""
    address = server if isinstance(server, str) else server.address
    done = subprocess.run([RINGCTL, "--server", address, *words], input=stdin, timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


def node_lines(name, **values):
    return ["%s:%s %s" % (name, field, value) for field, value in values.items()]


def status_of(node, b_seen="up", b_address="-", **more):
    values = {"node": node, "members": 2, "epoch": 12, "claimant": "a", "partitions": 1024, "copies": 2,
              "read_quorum": 1, "write_quorum": 2, "has_majority": "yes", "is_settled": "yes",
              "time_ms": 1795000000000, "memory_bytes": 13631488, "memory_limit_bytes": 67108864,
              "hints": 7, "warming": 0, "divergent": 0, **more}
    return stats(*["%s %s" % pair for pair in values.items()],
                 *node_lines("a", id="%016x" % 1, status="up", seen="self" if node == "a" else "up",
                             zone="east", weight=1, address="127.0.0.1:1", owned=1024, warming=0,
                             round_trip_us=0, ahead_ms=0, hints=0),
                 *node_lines("b:2", id="%016x" % 2, status="up", seen=b_seen, zone="7", weight=1,
                             address=b_address, owned=512, warming=3, round_trip_us=1250, ahead_ms=-4,
                             hints=7))


def context_of(*intervals):
    """What a server would hand out, with a sum that is not looked at."""
    data = bytes([len(intervals)]) + b"".join(struct.pack("<QQQ", *one) for one in intervals)
    return "@" + base64.urlsafe_b64encode(data + b"s" * 8).decode().rstrip("=")


class Status(unittest.TestCase):
    def test_it_shows_each_node_and_what_is_wrong(self):
        with FakeServer({"cluster status": status_of("a", b_seen="down", is_settled="no",
                                                     has_majority="no")}) as server:
            code, out, err = run(server, "status")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"(?m)^2 nodes, seen by a: table 12 by a, 1024 partitions, copies 2")
        self.assertRegex(out, r"(?m)^a +127\.0\.0\.1:1 +east +up +1 +100\.0 %")
        self.assertRegex(out, r"(?m)^b:2 +- +7 +down +1 +50\.0 % +1\.2 ms +-4 ms +7$")
        self.assertIn("no majority", out)
        self.assertIn("partitions are being moved", out)
        self.assertIn("memory 13.0 MB of 64.0 MB", out)

    def test_a_node_that_fills_up_is_warming(self):
        with FakeServer({"cluster status": status_of("a")}) as server:
            out = run(server, "status")[1]
        self.assertRegex(out, r"(?m)^b:2 .* warming 3 ")
        self.assertIn("b:2 fills up [#############################.]  99 %, 3 of its 512 partitions", out)

    def test_json_has_names_as_text_numbers_as_numbers_and_nodes_by_name(self):
        with FakeServer({"cluster status": status_of("a")}) as server:
            code, out, _ = run(server, "--json", "status")
        shown = json.loads(out)
        self.assertEqual(code, 0)
        self.assertEqual((shown["node"], shown["copies"], shown["has_majority"]), ("a", 2, True))
        self.assertEqual(shown["nodes"]["b:2"]["zone"], "7")
        self.assertEqual(shown["nodes"]["b:2"]["ahead_ms"], -4)

    def test_names_are_names_and_nothing_else(self):
        with FakeServer({"cluster status": status_of("a")}) as server:
            self.assertEqual(run(server, "status", "--names")[1], "a\nb:2\n")

    def test_all_asks_every_node_and_tells_where_they_disagree(self):
        with FakeServer({"cluster status": status_of("b:2", b_seen="self", epoch=11, hints=0)}) as b, \
                FakeServer({}) as a:
            first = status_of("a", b_seen="down", b_address=b.address)
            a.answers["cluster status"] = first.replace("127.0.0.1:1\n", a.address + "\n")
            code, out, _ = run(a, "status", "--all")
            shown = json.loads(run(a, "status", "--all", "--json")[1])
        self.assertEqual(code, 0)
        self.assertRegex(out, r"(?m)^a .* 13\.0 MB of 64\.0 MB +7 +0 ")
        self.assertIn("a sees b:2: down\n", out)
        self.assertIn("b:2 uses another table: 11 by a\n", out)
        self.assertEqual(shown["b:2"]["epoch"], 11)

    def test_all_says_who_could_not_be_asked(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            free = "127.0.0.1:%d" % closed.getsockname()[1]
        with FakeServer({}) as a:
            a.answers["cluster status"] = status_of("a", b_address=free).replace(
                "127.0.0.1:1\n", a.address + "\n")
            code, out, _ = run(a, "status", "--all")
        self.assertEqual(code, 0)
        self.assertIn("b:2 could not be asked: cannot connect to %s: Connection refused" % free, out)


class Ring(unittest.TestCase):
    ANSWER = stats("key k", "hash 00000000000000ff", "partition 17", "owners a b:2", "fallbacks c",
                   "coordinator a", "owners_down b:2", "owners_warming ")

    def test_the_owners_of_keys_are_shown_in_order(self):
        with FakeServer({"cluster ring k": self.ANSWER}) as server:
            code, out, _ = run(server, "ring", "k", "k")
        self.assertEqual(code, 0)
        self.assertEqual(out.count("k: partition 17"), 2)
        self.assertRegex(out, r"(?m)^  owners +a b:2$")
        self.assertRegex(out, r"(?m)^  down +b:2$")
        self.assertNotIn("warming", out)

    def test_json_lists_the_owners(self):
        with FakeServer({"cluster ring k": self.ANSWER}) as server:
            shown = json.loads(run(server, "ring", "-j", "k")[1])
        self.assertEqual(shown[0]["owners"], ["a", "b:2"])
        self.assertEqual(shown[0]["owners_warming"], [])

    def test_without_a_key_it_sums_the_partitions_up(self):
        answer = stats("epoch 3", "claimant a", "partitions 8", "copies 1", "zones_violated 0",
                       "owners_missing 2", *node_lines("a", id="1", zone="z", weight=2, owned=8, first=8))
        with FakeServer({"cluster ring": answer}) as server:
            out = run(server, "ring")[1]
        self.assertRegex(out, r"(?m)^a +z +2 +8 \(100\.0 %\) +8 \(100\.0 %\)$")
        self.assertIn("owners missing: 2", out)

    def test_a_key_with_a_space_is_not_sent(self):
        with FakeServer({}) as server:
            code, _, err = run(server, "ring", "a b")
        self.assertEqual((code, server.heard), (USAGE, []))
        self.assertIn("no spaces", err)


class Keys(unittest.TestCase):
    CONTEXT = context_of((1, 0, (1795000000123 << 20) + 5), (9, 77, 78))

    def test_get_gives_the_value_alone_on_stdout(self):
        with FakeServer({"mg k v f t n y": b"VA 4 f5 t-1 n2 y%s\r\na\r\nb\r\n" % self.CONTEXT.encode(),
                         "cluster status": status_of("a")}) as server:
            code, out, err = run(server, "get", "k")
        self.assertEqual((code, out), (0, "a\r\nb"))
        self.assertIn("flags 5, ttl -1, siblings 2\n", err)
        self.assertIn("seen:    a:0..%d (until 2026-11-18 11:06:40.123)" % ((1795000000123 << 20) + 5), err)

    def test_a_miss_is_refused(self):
        with FakeServer({"mg k v f t n y": "EN"}) as server:
            self.assertEqual(run(server, "get", "k"), (REFUSED, "", "ringctl: there is no k\n"))

    def test_what_the_server_says_against_it_is_told(self):
        with FakeServer({"mg k v f t n y": "SERVER_ERROR read quorum not met: 1 of 2"}) as server:
            code, _, err = run(server, "get", "k")
        self.assertEqual(code, REFUSED)
        self.assertIn("read quorum not met: 1 of 2", err)

    def test_vget_shows_each_sibling_and_names_the_nodes(self):
        lines = "VALUE k 0 3 {0}\r\none\r\nVALUE k 7 2 {0}\r\nzz\r\nEND\r\n".format(self.CONTEXT)
        with FakeServer({"vget k": lines.encode(), "cluster status": status_of("a")}) as server:
            out = run(server, "vget", "k")[1]
            shown = json.loads(run(server, "vget", "k", "--json")[1])
        self.assertIn("sibling 1: flags 0, 3 bytes\none\nsibling 2: flags 7, 2 bytes\nzz\n", out)
        self.assertIn("0000000000000009:77..78 ", out)
        self.assertIn("context: " + self.CONTEXT, out)
        self.assertEqual([one["value"] for one in shown["siblings"]], ["one", "zz"])
        self.assertEqual(shown["seen"][0]["node"], "a")

    def test_names_are_numbers_where_the_server_is_no_node(self):
        lines = "VALUE k 0 0 {0}\r\n\r\nEND\r\n".format(self.CONTEXT)
        with FakeServer({"vget k": lines.encode()}) as server:
            self.assertIn("0000000000000001:0..", run(server, "vget", "k")[1])

    def test_bytes_that_are_no_text_are_base64_in_json(self):
        with FakeServer({"mg k v f t n y": b"VA 2 f0 t9 n1 y@\r\n\xff\0\r\n"}) as server:
            shown = json.loads(run(server, "get", "k", "--json")[1])
        self.assertEqual((shown["value_base64"], shown["bytes"], shown["ttl"]), ("/wA=", 2, 9))

    def test_put_sends_flags_ttl_and_context_and_shows_the_new_one(self):
        command = "ms k 5 F3 T60 y Y%s|hello" % self.CONTEXT
        with FakeServer({command: "HD y" + context_of((2, 1, 2))}) as server:
            code, out, err = run(server, "put", "k", "hello", "--flags", "3", "--ttl", "60",
                                 "--context", self.CONTEXT)
        self.assertEqual((code, err), (0, ""))
        self.assertIn("context: " + context_of((2, 1, 2)), out)

    def test_put_reads_the_value_from_stdin(self):
        value = "x" * 100000 + "\n"
        with FakeServer({"ms k 100001 F0 T0 y|" + value: "HD y@"}) as server:
            code, out, _ = run(server, "put", "k", stdin=value.encode())
        self.assertEqual(code, 0)
        self.assertIn("stored:  nothing", out)

    def test_a_context_that_the_server_does_not_know_is_refused(self):
        with FakeServer({"ms k 1 F0 T0 y Y@AA|v": "CLIENT_ERROR bad context"}) as server:
            code, _, err = run(server, "put", "k", "v", "-c", "@AA")
        self.assertEqual(code, REFUSED)
        self.assertIn("bad context", err)

    def test_delete_takes_a_context_too(self):
        with FakeServer({"md k Y@AA": "HD", "md k": "NF"}) as server:
            self.assertEqual(run(server, "delete", "k", "-c", "@AA"), (0, "", ""))
            self.assertEqual(run(server, "delete", "k"), (REFUSED, "", "ringctl: there is no k\n"))

    def test_no_key_is_sent_that_could_be_more_than_a_key(self):
        with FakeServer({}) as server:
            for key in ("", "a b", "a\r\nflush_all", "x" * 251):
                self.assertEqual(run(server, "get", key)[0], USAGE)
        self.assertEqual(server.heard, [])


PLAN = stats("acts 1", "act_1 leave b", "partitions_moved 341", "bytes_moved 1048576", "tables 3",
             "first_moved 100", "peak_permille_before 1001", "peak_permille_after 1002",
             "peak_first_permille_before 1000", "peak_first_permille_after 1000",
             "zones_violated_before 0", "zones_violated_after 4", "owners_missing_before 0",
             "owners_missing_after 0",
             *node_lines("a", owned_before=683, owned_after=1024, first_before=341, first_after=512,
                         gained=341, lost=0, bytes_gained=1048576, bytes_lost=0))


class Acts(unittest.TestCase):
    def test_a_plan_shows_what_would_move(self):
        with FakeServer({"cluster plan leave b": PLAN}) as server:
            code, out, _ = run(server, "plan", "leave", "b")
        self.assertEqual(code, 0)
        self.assertIn("1. leave b\n", out)
        self.assertIn("moves 341 partitions, about 1.0 MB, in 3 steps", out)
        self.assertRegex(out, r"zones than could be +0 -> 4")
        self.assertRegex(out, r"(?m)^a +683 +-> 1024 +341 +-> 512 +341 +0 +1\.0 MB$")
        self.assertIn("ringctl commit does it", out)

    def test_commit_waits_until_nothing_is_on_its_way(self):
        left = [stats("partitions_left %d" % n) for n in (9, 4, 0)]
        with FakeServer({"cluster commit": stats("acts 1"), "cluster moves": left}) as server:
            code, out, err = run(server, "commit")
        self.assertEqual((code, out, err), (0, "done\n", ""))
        self.assertEqual(server.heard.count("cluster moves"), 3)

    def test_force_is_passed_on(self):
        with FakeServer({"cluster commit force": stats("acts 1")}) as server:
            self.assertEqual(run(server, "commit", "--force", "--no-wait")[:2],
                             (0, "begun: it goes on by itself\n"))

    def test_what_the_cluster_refuses_is_told_with_its_reason(self):
        answer = "SERVER_ERROR no majority of the nodes is reachable from here: 1 of 3"
        with FakeServer({"cluster remove b": answer}) as server:
            code, out, err = run(server, "remove", "b")
        self.assertEqual((code, out), (REFUSED, ""))
        self.assertEqual(err, "ringctl: %s says: no majority of the nodes is reachable from here: "
                              "1 of 3\n" % server.address)

    def test_leave_is_complete_when_the_node_is_no_member_any_more(self):
        def status(owned, *more):
            return stats("node a", *node_lines("b", id=2, owned=owned, status="leaving"), *more)
        with FakeServer({"cluster leave b": stats("acts 1"), "cluster status":
                         [status(5), status(0), stats("node a")]}) as server:
            self.assertEqual(run(server, "leave", "b")[:2], (0, "done\n"))

    def test_a_node_may_be_told_to_leave_and_then_not_answer_any_more(self):
        with FakeServer({"cluster leave b": stats("acts 1"), "cluster status":
                         [stats("node b", "b:owned 5", "b:status leaving"),
                          stats("node b", "b:owned 0", "b:status leaving"), None]}) as server:
            self.assertEqual(run(server, "leave", "b")[:2], (0, "done\n"))

    def test_what_is_not_complete_in_time_is_late_and_says_so(self):
        with FakeServer({"cluster weight a 3": stats("acts 1"),
                         "cluster moves": stats("partitions_left 8")}) as server:
            code, out, err = run(server, "weight", "a", "3", "--wait", "0.2")
        self.assertEqual((code, out), (LATE, ""))
        self.assertIn("8 left; it goes on", err)

    def test_replace_and_repair_are_sent_as_they_are(self):
        with FakeServer({"cluster replace old new": stats(), "cluster moves": stats("partitions_left 0"),
                         "cluster repair 7": stats(), "stats repair": stats("asked_left 0")}) as server:
            self.assertEqual(run(server, "replace", "old", "new")[0], 0)
            self.assertEqual(run(server, "repair", "7")[0], 0)

    def test_drain_says_which_hints_stay(self):
        with FakeServer({"cluster drain": stats(), "cluster hints":
                         stats("hints 3", "hints_deliverable 0")}) as server:
            code, out, err = run(server, "drain")
        self.assertEqual((code, out), (REFUSED, ""))
        self.assertIn("3 hints are for nodes that are away", err)

    def test_json_tells_whether_the_act_is_complete(self):
        with FakeServer({"cluster commit": stats("acts 2"),
                         "cluster moves": stats("partitions_left 0")}) as server:
            self.assertEqual(json.loads(run(server, "-j", "commit")[1]),
                             {"acts": 2, "is_complete": True})


class Terminal(unittest.TestCase):
    def test_a_bar_is_drawn_after_a_second_and_cleared_away(self):
        answers = {"cluster commit": stats("acts 1"),
                   "cluster moves": [stats("partitions_left %d" % n) for n in (8, 8, 8, 8, 8, 4, 4, 0)]}
        with FakeServer(answers) as server:
            leader, follower = pty.openpty()
            process = subprocess.Popen([RINGCTL, "-s", server.address, "commit"], stderr=follower,
                                       stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            os.close(follower)
            drawn = b""
            while select.select([leader], [], [], 10)[0]:
                try:
                    drawn += os.read(leader, 4096)
                except OSError:  # the other end is closed
                    break
            out = process.communicate(timeout=10)[0]
            os.close(leader)
        self.assertEqual((process.returncode, out), (0, b"done\n"))
        self.assertIn(b"\rmoving [###############...............]  50 %  4 left", drawn)
        self.assertTrue(drawn.endswith(b"\r\x1b[K"))


class Config(unittest.TestCase):
    def test_the_node_list_is_shown(self):
        body = "12\nh1|10.0.0.1|11211 h2|10.0.0.2|11311\n"
        answer = "CONFIG cluster 0 %d\r\n%s\r\nEND\r\n" % (len(body), body)
        with FakeServer({"config get cluster": answer.encode()}) as server:
            code, out, _ = run(server, "config")
            shown = json.loads(run(server, "config", "--json")[1])
        self.assertEqual((code, out), (0, "version 12\nh1|10.0.0.1|11211 h2|10.0.0.2|11311\n"))
        self.assertEqual(shown, {"version": 12, "nodes": [
            {"host": "h1", "ip": "10.0.0.1", "port": 11211},
            {"host": "h2", "ip": "10.0.0.2", "port": 11311}]})


class CommandLine(unittest.TestCase):
    def test_what_is_wrong_with_it_is_said_and_nothing_is_asked(self):
        with FakeServer({}) as server:
            for words, text in ((["frob"], "no command frob"), (["get"], "usage: ringctl get KEY"),
                                (["status", "x"], "usage: ringctl status"), ([], "which command"),
                                (["--timeout", "soon", "status"], "--timeout does not take soon"),
                                (["--frob"], "frob"), (["leave", "a b"], "cannot be right")):
                code, out, err = run(server, *words)
                self.assertEqual((code, out), (USAGE, ""), words)
                self.assertIn(text, err)
        self.assertEqual(server.heard, [])

    def test_a_server_that_is_none_is_a_usage_error(self):
        for server in ("nonsense", ":1", "host:", "::1:11211", "/" + "x" * 200):
            self.assertEqual(run(server, "status")[0], USAGE, server)

    def test_nobody_there_is_3(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            free = "127.0.0.1:%d" % closed.getsockname()[1]
        code, _, err = run(free, "status")
        self.assertEqual(code, UNREACHABLE)
        self.assertEqual(err, "ringctl: cannot connect to %s: Connection refused: is the server "
                              "running?\n" % free)

    def test_a_connection_that_breaks_is_3(self):
        with FakeServer({"cluster status": None}) as server:
            code, _, err = run(server, "status")
        self.assertEqual(code, UNREACHABLE)
        self.assertIn("closed the connection", err)

    def test_no_answer_in_time_is_4(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            code, _, err = run("127.0.0.1:%d" % silent.getsockname()[1], "-t", "0.2", "status")
        self.assertEqual(code, LATE)
        self.assertIn("did not answer within 0.2 s", err)

    def test_the_server_comes_from_the_environment(self):
        with FakeServer({"cluster status": status_of("a")}) as server:
            done = subprocess.run([RINGCTL, "status", "--names"], stdout=subprocess.PIPE, timeout=10,
                                  env={**os.environ, "RINGCTL_SERVER": server.address})
        self.assertEqual(done.stdout, b"a\nb:2\n")

    def test_a_unix_socket_will_do(self):
        with tempfile.TemporaryDirectory() as folder, FakeServer({}) as server:
            server.listener.close()
            server.listener = socket.socket(socket.AF_UNIX)
            server.listener.bind(folder + "/socket")
            server.listener.listen()
            server.answers["cluster status"] = status_of("a")
            import threading
            threading.Thread(target=server._accept, daemon=True).start()
            self.assertEqual(run(folder + "/socket", "status", "--names")[1], "a\nb:2\n")

    def test_it_logs_in_with_a_file(self):
        with tempfile.NamedTemporaryFile("w") as file, \
                FakeServer({"set login 0 0 7|me pass": "STORED",
                            "cluster status": status_of("a")}) as server:
            file.write("# who\nme:pass\n")
            file.flush()
            self.assertEqual(run(server, "--login-file", file.name, "status", "--names")[0], 0)
            server.answers["set login 0 0 7|me pass"] = "CLIENT_ERROR authentication failure"
            code, _, err = run(server, "--login-file", file.name, "status")
        self.assertEqual(code, REFUSED)
        self.assertIn("refuses the login", err)
        self.assertNotIn("pass ", err)

    def test_a_login_file_that_is_none_is_named(self):
        code, _, err = run("127.0.0.1:1", "--login-file", "/nonexistent", "status")
        self.assertEqual(code, USAGE)
        self.assertIn("/nonexistent cannot be read", err)

    def test_a_server_without_clusters_is_told_from_one_that_refuses(self):
        with FakeServer({}) as server:
            code, _, err = run(server, "status")
        self.assertEqual(code, REFUSED)
        self.assertIn("does not know this command", err)

    def test_help_names_every_command(self):
        done = subprocess.run([RINGCTL, "--help"], stdout=subprocess.PIPE, timeout=10)
        self.assertEqual(done.returncode, 0)
        for name in ("status", "ring", "hints", "config", "get", "vget", "put", "delete", "plan",
                     "commit", "leave", "remove", "replace", "weight", "repair", "drain"):
            self.assertRegex(done.stdout.decode(), r"(?m)^  %s " % name)


class Completion(unittest.TestCase):
    def complete(self, line, path=""):
        """What bash would offer for the last word of the line."""
        script = """
            PATH=%s:$PATH; . "$1"; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _ringctl; printf '%%s\\n' "${COMPREPLY[@]}"
        """ % (path, line)
        done = subprocess.run(["bash", "-c", script, "bash", COMPLETION], stdout=subprocess.PIPE,
                              timeout=20)
        return done.stdout.decode().split()

    def test_commands_and_options_complete(self):
        self.assertEqual(self.complete("ringctl re"), ["remove", "replace", "repair"])
        self.assertEqual(self.complete("ringctl --ti"), ["--timeout"])
        self.assertEqual(self.complete("ringctl plan w"), ["weight"])

    def test_every_command_and_option_of_the_help_completes(self):
        shown = subprocess.run([RINGCTL, "--help"], stdout=subprocess.PIPE).stdout.decode()
        commands, options = shown.split("\noptions:")
        self.assertEqual(sorted(re.findall(r"(?m)^  ([a-z]+) ", commands)),
                         sorted(self.complete("ringctl ''")))
        self.assertEqual(sorted(set(re.findall(r"(--[a-z-]+)", options)) - {"--force."}),
                         sorted(self.complete("ringctl --")))

    def test_names_of_nodes_come_from_the_cluster(self):
        with FakeServer({"cluster status": status_of("a")}) as server:
            offered = self.complete('"%s" -s %s leave ""' % (os.path.abspath(RINGCTL), server.address))
        self.assertEqual(offered, ["a", "b:2"])


if __name__ == "__main__":
    unittest.main()
