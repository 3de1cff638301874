"""A network for the nodes alone, in which they can be cut off from each other.

enter() puts the whole test program into a network namespace, which ends with it and disturbs nobody;
each node then has its own, joined to it by a bridge.  That takes root, or a kernel that lets users
have namespaces.  Where neither is to be had, nodes listen on loopback and are cut off by `debug cut`.
"""

import ctypes
import os
import shutil
import subprocess
import sys

SUBNET = "10.88.0."
_INSIDE = "CLUSTER_NAMESPACE"       # set in the program that enter() started
WHY_NOT = "CLUSTER_NO_NAMESPACE"


def enter():
    """Starts this program again in a namespace of its own, unless it is in one already."""
    if _INSIDE in os.environ or WHY_NOT in os.environ:
        return
    reason = _try_to_enter()
    os.environ[WHY_NOT] = reason


def _try_to_enter():
    """Comes back only when it cannot, with the reason."""
    for program in ("unshare", "ip", "nft", "mount"):
        if shutil.which(program, path=_path()) is None:
            return "not installed: " + program
    command = ["unshare", "--net", "--mount"]
    if os.getuid() != 0:
        command += ["--user", "--map-root-user"]
    probe = command + ["sh", "-c", "mount -t tmpfs none /run && ip netns add probe && "
                       "ip netns exec probe nft add table inet probe"]
    environment = dict(os.environ, PATH=_path())
    done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, env=environment)
    if done.returncode != 0:
        said = done.stderr.decode("latin-1").strip().splitlines()
        return "no network namespaces here: " + (said[-1] if said else "unshare failed")
    environment[_INSIDE] = "yes"
    # The mount namespace keeps /run/netns to ourselves; a parent that ends takes us along.
    os.execvpe("unshare", command + ["--kill-child", sys.executable] + sys.argv, environment)


def _path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def why_not():
    """Why there are no namespaces, or None where there are."""
    return None if _INSIDE in os.environ else os.environ.get(WHY_NOT, "enter() was not called")


def prepare():
    """The first thing to do inside: loopback, and a place for the names of namespaces."""
    if why_not() is None:
        _run("mount", "-t", "tmpfs", "none", "/run")
        _run("ip", "link", "set", "lo", "up")


def _run(*command, given=None):
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError("%s: %s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


class Network:
    """A bridge, and a namespace with an address for each node that asks for one."""

    made = 0

    def __init__(self):
        Network.made += 1
        self.bridge = "br%d" % Network.made
        self.prefix = "c%d" % Network.made
        self.hosts = {}             # by name of the node: its address
        self.delayers = {}
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", SUBNET + "254/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")

    def add(self, name):
        """Makes the namespace of a node, and returns its address."""
        number = len(self.hosts) + 1
        space, outside = self.space(name), "%sv%d" % (self.prefix, number)
        _run("ip", "netns", "add", space)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
        _run("ip", "link", "set", outside, "master", self.bridge, "up")
        host = SUBNET + str(number)
        self.inside(name, "ip", "address", "add", host + "/24", "dev", "eth0")
        self.inside(name, "ip", "link", "set", "eth0", "up")
        self.inside(name, "ip", "link", "set", "lo", "up")
        self.inside(name, "nft", "-f", "-", given="add table inet cluster\n"
                    "add chain inet cluster in { type filter hook input priority 0; }\n")
        self.hosts[name] = host
        return host

    def space(self, name):
        return "%s-%s" % (self.prefix, name)

    def prefix_of(self, name):
        """What to put before a command that has to run in the node's namespace."""
        return ["ip", "netns", "exec", self.space(name)]

    def inside(self, name, *command, given=None):
        return _run(*self.prefix_of(name), *command, given=given)

    def cut(self, sender, receiver):
        """Nothing that `sender` sends reaches `receiver` any more; the other way is left as it is."""
        self.inside(receiver, "nft", "add", "rule", "inet", "cluster", "in", "ip", "saddr",
                    self.hosts[sender], "drop")

    def heal(self):
        """Everybody hears everybody again."""
        for name in self.hosts:
            self.inside(name, "nft", "flush", "chain", "inet", "cluster", "in")

    def delay(self, name, least_ms, most_ms, loss=0.0, seed=1):
        """Holds back each packet that other nodes send to `name` for as long as chance has it, so that
        they also overtake each other."""
        for sender, host in self.hosts.items():
            if sender != name:
                self.inside(name, "iptables", "-A", "INPUT", "-s", host, "-j", "NFQUEUE",
                            "--queue-num", "1", "--queue-bypass")
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "delay_packets.py")
        delayer = subprocess.Popen(self.prefix_of(name) + [
            sys.executable, program, str(least_ms), str(most_ms), str(loss), str(seed)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.delayers[name] = delayer
        if delayer.stdout.readline() != b"ready\n":
            raise AssertionError("delay_packets.py did not start")

    def end_delays(self):
        for name, delayer in self.delayers.items():
            self.inside(name, "iptables", "-F", "INPUT")
            delayer.kill()
            delayer.wait()
            delayer.stdout.close()
        self.delayers.clear()

    def stop(self):
        self.end_delays()
        for name in self.hosts:
            _run("ip", "netns", "del", self.space(name))
        _run("ip", "link", "del", self.bridge)


def why_no_queue():
    """Why packets cannot be handed to a program here, or None."""
    if why_not() is not None:
        return why_not()
    if shutil.which("iptables") is None:
        return "not installed: iptables"
    _run("ip", "netns", "add", "queue")
    try:
        _run("ip", "netns", "exec", "queue", "iptables", "-A", "INPUT", "-j", "NFQUEUE",
             "--queue-num", "1")
    except AssertionError as wrong:
        return "no NFQUEUE in this kernel: %s" % wrong
    finally:
        _run("ip", "netns", "del", "queue")
    return None


def die_with_parent():
    """For preexec_fn: a node must not outlive tests that were killed."""
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
