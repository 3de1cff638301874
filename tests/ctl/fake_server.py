"""A server that answers what a test tells it to: the other side of ringctl."""

import socket
import threading


class FakeServer:
    """`answers` maps a command line to its answer, or to a list of answers, one for each time it is
    asked, the last one for all further times.  An answer is text (its lines are ended as the protocol
    wants them), bytes, or None: the connection is closed.  Unknown commands are answered `ERROR`."""

    def __init__(self, answers):
        self.answers = dict(answers)
        self.heard = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, sock.makefile("rb") as lines:
            for line in lines:
                command = line.decode("latin-1").rstrip("\r\n")
                words = command.split(" ")
                if words[0] in ("set", "ms"):  # a value follows
                    size = int(words[4] if words[0] == "set" else words[2])
                    command += "|" + lines.read(size + 2)[:-2].decode("latin-1")
                self.heard.append(command)
                answer = self._answer_to(command)
                if answer is None:
                    return
                try:
                    sock.sendall(answer)
                except OSError:
                    return

    def _answer_to(self, command):
        answer = self.answers.get(command, "ERROR")
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, str):
            answer = "".join(line + "\r\n" for line in answer.strip("\n").split("\n")).encode()
        return answer


def stats(*lines, **values):
    """An answer of STAT lines."""
    pairs = list(lines) + ["%s %s" % pair for pair in values.items()]
    return "\n".join(["STAT " + pair for pair in pairs] + ["END"])
