# SPDX-License-Identifier: Apache-2.0
"""The cluster this process belongs to: who is there, whether all agree, and the watch over each other.

Every worker keeps one connection to the chief (worker 0) beside jax's own. Over it workers arrive, compare what must be
the same, and say once a second that they are alive and how many programs they have started. A worker that does not
arrive, dies, falls silent or stays behind ends all others with a sentence that names it: a collective that waits for
a lost peer cannot be interrupted, so the process ends with status 75 ("try again").
"""
import atexit
import json
import os
import queue
import socket
import sys
import threading
import time

from fitloom.engine.placement import Placement

LOST_STATUS = 75             # EX_TEMPFAIL: a restart may help
START_SECONDS = 300.0        # how long workers wait for each other at the start
SILENT_SECONDS = 60.0        # silence after which a worker counts as lost
STUCK_SECONDS = 600.0        # how long a worker may stay behind the others


def seconds(name, default):
    """Return a time from the environment variable FITLOOM_CLUSTER_<name>_SECONDS."""
    text = os.environ.get(f"FITLOOM_CLUSTER_{name}_SECONDS")
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise ValueError(f"FITLOOM_CLUSTER_{name}_SECONDS must be a number of seconds above 0, but is {text!r}.")
    return value


class Peer:
    """A connection: messages are JSON lines."""

    def __init__(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        self.socket, self.lines, self.lock = connection, connection.makefile("r", encoding="utf-8"), threading.Lock()
        self.heard, self.steps, self.moved, self.bye = time.monotonic(), 0, time.monotonic(), None
        self.about, self.gone = {}, False

    def send(self, **message):
        """Send a message; a broken connection is noticed by the reader."""
        data = (json.dumps(message) + "\n").encode()
        try:
            with self.lock:
                self.socket.sendall(data)
        except OSError:
            pass

    def receive(self):
        """Return the next message, or None when the connection has ended."""
        try:
            line = self.lines.readline()
            return json.loads(line) if line.endswith("\n") else None
        except (OSError, ValueError):
            return None

    def close(self):
        """End the connection."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


class Cluster:
    """This process as worker `rank` of `size`; one process alone until `join`."""

    def __init__(self):
        self.rank, self.size, self.addresses, self.names = 0, 1, (), ()
        self.peers: dict = {}             # rank -> Peer: on the chief all others, elsewhere the chief
        self.ending, self.gathering, self.answers = False, {}, queue.Queue()
        self.sequence, self.changed = 0, threading.Condition()
        self.silent = self.stuck = 0.0

    def name(self, rank):
        """Return how errors call a worker."""
        return f"worker {rank} ({self.addresses[rank]})"

    # -- the start

    def join(self, addresses, rank, about, timeout_seconds=None):
        """Meet all workers; return the list of what they say about themselves (`about`), and the chief's extra port.

        Raises:
            RuntimeError: somebody did not come in time, or describes another cluster.
            OSError: the chief's port is in use.
        """
        if self.size > 1:
            raise RuntimeError("This process is in a cluster already: make one MultiWorkerMirroredStrategy.")
        addresses = list(addresses)
        if len(set(addresses)) != len(addresses):
            raise ValueError(f"Two workers have one address: {', '.join(addresses)}. Each needs its own host:port.")
        if not 0 <= rank < len(addresses):
            raise ValueError(f"This process is worker {rank}, but the cluster has {len(addresses)} workers: "
                             f"{', '.join(addresses)}. The index must be 0 to {len(addresses) - 1}.")
        self.addresses, start = addresses, seconds("START", START_SECONDS)
        self.silent = timeout_seconds or seconds("SILENT", SILENT_SECONDS)
        self.stuck = seconds("STUCK", STUCK_SECONDS)
        everyone, port = (self._gather_workers if rank == 0 else self._find_chief)(rank, about, start)
        self.rank, self.size = rank, len(addresses)
        for number, peer in self.peers.items():
            peer.heard = peer.moved = time.monotonic()
            threading.Thread(target=self._listen, args=(number, peer), daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()
        self._before = sys.excepthook
        sys.excepthook = self._failed
        return everyone, port

    def _gather_workers(self, rank, about, start):
        host, port = split_address(self.addresses[0])
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"Worker 0 cannot listen on port {port}: {error.strerror}. Another process uses "
                          f"it (an earlier run?). End that process, or give worker 0 another port.") from None
        listener.listen(128)
        deadline, everyone = time.monotonic() + start, {0: about}
        try:
            while len(everyone) < len(self.addresses):
                listener.settimeout(max(0.05, deadline - time.monotonic()))
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    missing = [self.name(i) for i in range(len(self.addresses)) if i not in everyone]
                    raise RuntimeError(
                        f"{_listed(missing)} did not arrive within {start:g} s; {len(everyone)} of "
                        f"{len(self.addresses)} workers are here. Start all of them, or set "
                        "FITLOOM_CLUSTER_START_SECONDS to wait longer.") from None
                connection.settimeout(10)
                peer = Peer(connection)
                connection.settimeout(10)
                hello = peer.receive()
                connection.settimeout(None)
                if not isinstance(hello, dict) or "rank" not in hello:
                    peer.close()                    # not one of ours
                    continue
                problem = self._refuse(hello, everyone)
                if problem:
                    peer.send(lost=problem)
                    raise RuntimeError(problem)
                peer.about = hello["about"]
                self.peers[hello["rank"]], everyone[hello["rank"]] = peer, peer.about
        except BaseException as error:
            for peer in self.peers.values():
                peer.send(lost=str(error))
                peer.close()
            self.peers = {}
            raise
        finally:
            listener.close()
        with socket.socket() as free:               # for jax's own coordinator
            free.bind(("", 0))
            extra = free.getsockname()[1]
        said = [everyone[i] for i in range(len(everyone))]
        for peer in self.peers.values():
            peer.send(everyone=said, port=extra)
        return said, extra

    def _refuse(self, hello, everyone):
        """Return what is wrong with an arriving worker, or None."""
        rank = hello["rank"]
        if hello["addresses"] != self.addresses:
            return (f"Worker {rank} describes another cluster ({', '.join(hello['addresses'])}) than worker 0 "
                    f"({', '.join(self.addresses)}). TF_CONFIG's 'cluster' must be the same for all.")
        if rank in everyone:
            return (f"Two processes say they are {self.name(rank)}. Give each its own index in TF_CONFIG's 'task'.")
        mine, theirs = everyone[0]["version"], hello["about"]["version"]
        if mine != theirs:
            return f"{self.name(rank)} runs {theirs}, but worker 0 runs {mine}. Install the same versions everywhere."
        return None

    def _find_chief(self, rank, about, start):
        host, port = split_address(self.addresses[0])
        deadline = time.monotonic() + start
        while True:
            try:
                connection = socket.create_connection((host, port), timeout=5)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{self.name(0)} could not be reached within {start:g} s ({error}). Start it, check the "
                        "address, or set FITLOOM_CLUSTER_START_SECONDS to wait longer.") from None
                time.sleep(0.1)
        peer = Peer(connection)
        peer.send(rank=rank, addresses=self.addresses, about=about)
        peer.socket.settimeout(max(1.0, deadline - time.monotonic()) + 5)
        answer = peer.receive()
        peer.socket.settimeout(None)
        if answer is None:
            raise RuntimeError(f"{self.name(0)} ended, or did not answer within {start:g} s.")
        if "lost" in answer:
            raise RuntimeError(answer["lost"])
        self.peers = {0: peer}
        return answer["everyone"], answer["port"]

    # -- agreement

    def gather(self, name, value):
        """Return every worker's value (JSON), by rank; all workers must call it with the same name."""
        if self.size == 1:
            return [value]
        self.sequence += 1
        if self.rank == 0:
            return self._gather_as_chief(self.sequence, name, value)
        self.peers[0].send(gather=self.sequence, name=name, value=value)
        _, names, values = self.answers.get()       # the chief's watch bounds the wait
        self._same_place(name, names)
        return values

    def _gather_as_chief(self, sequence, name, value):
        deadline = time.monotonic() + self.stuck
        with self.changed:
            found = self.gathering.setdefault(sequence, {})
            found[0] = (name, value)
            while len(found) < self.size:
                if not self.changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() > deadline:
                    missing = [self.name(i) for i in range(self.size) if i not in found]
                    self.lose(f"{_listed(missing)} did not come to '{name}' within {self.stuck:g} s.")
            del self.gathering[sequence]
        names = [found[i][0] for i in range(self.size)]
        values = [found[i][1] for i in range(self.size)]
        for peer in self.peers.values():
            peer.send(gathered=sequence, names=names, values=values)
        self._same_place(name, names)
        return values

    def _same_place(self, name, names):
        for rank, other in enumerate(names):
            if other != names[0]:
                raise RuntimeError(f"The workers do different things: worker 0 is at '{names[0]}', {self.name(rank)} "
                                   f"at '{other}'. All workers must run the same program on the same schedule.")

    def agree_on(self, values, hints=None):
        """Raise ValueError on all workers unless all of them give the same values for a dict of things (JSON)."""
        every = self.gather(", ".join(values), list(values.values()))
        for position, what in enumerate(values):
            for rank, said in enumerate(every):
                if said[position] != every[0][position]:
                    raise ValueError(
                        f"The workers do not agree on {what}: worker 0 has {_short(every[0][position])}, "
                        f"{self.name(rank)} has {_short(said[position])}. {(hints or {}).get(what, '')}".rstrip())

    # -- the watch

    def _listen(self, rank, peer):
        while True:
            message = peer.receive()
            if message is None:
                peer.gone = True
                if peer.bye is None and not self.ending:
                    self.lose(f"{self.name(rank)} died (killed, crashed, or its machine is gone) after "
                              f"{peer.steps} steps.")
                return
            peer.heard = time.monotonic()
            if "steps" in message and message["steps"] != peer.steps:
                peer.steps, peer.moved = message["steps"], peer.heard
            if "lost" in message:
                self._end(message["lost"])
            elif "bye" in message:
                peer.bye, peer.moved = message["bye"], peer.heard
                if message["bye"] != "done":
                    self.lose(f"{self.name(rank)} failed: {message['bye']}")
            elif "gather" in message:
                with self.changed:
                    self.gathering.setdefault(message["gather"], {})[rank] = (message["name"], message["value"])
                    self.changed.notify_all()
            elif "gathered" in message:
                self.answers.put((message["gathered"], message["names"], message["values"]))

    def _watch(self):
        pause, last = min(1.0, self.silent / 5), time.monotonic()
        mine, moved = 0, last
        while True:
            for peer in self.peers.values():
                peer.send(steps=Placement.dispatched)
            time.sleep(pause)
            now = time.monotonic()
            if now - last > pause + self.silent / 2:     # this process itself was stopped: hear the others first
                for peer in self.peers.values():
                    peer.heard = peer.moved = now
            last = now
            if Placement.dispatched != mine:
                mine, moved = Placement.dispatched, now
            for rank, peer in self.peers.items():
                if peer.bye is None and now - peer.heard > self.silent:
                    self.lose(f"{self.name(rank)} has been silent for {self.silent:g} s: it is stopped, or its "
                              "machine cannot be reached.")
            if self.rank == 0:
                self._check_progress(now, mine, moved)

    def _check_progress(self, now, mine, moved):
        """End the run when a worker stays behind: alive, but stuck in something else, or finished."""
        ahead = max([mine] + [peer.steps for peer in self.peers.values()])
        states = [(0, mine, moved, None)] + [(r, p.steps, p.moved, p.bye) for r, p in self.peers.items()]
        for rank, steps, since, bye in states:
            if steps >= ahead or self.ending:
                continue
            if bye == "done" and now - since > min(10.0, self.stuck):
                self.lose(f"{self.name(rank)} finished after {steps} steps, but another worker is at step {ahead}. All "
                          "workers must run the same number of steps.")
            elif bye is None and now - since > self.stuck:
                self.lose(f"{self.name(rank)} has been stuck for {self.stuck:g} s after {steps} steps, while others "
                          f"wait in step {ahead}. Set FITLOOM_CLUSTER_STUCK_SECONDS to allow longer pauses.")

    def lose(self, message):
        """Tell everybody why the run ends, and end."""
        if self.rank == 0 and not self.ending:
            for peer in self.peers.values():
                peer.send(lost=message)
            self._end(message, wait=True)
        self._end(message)

    def _end(self, message, wait=False):
        if self.ending:
            return
        self.ending = True
        sys.stdout.flush()
        sys.stderr.write(f"\nfitloom: {message[:1].upper()}{message[1:]}\n"
                         f"fitloom: worker {self.rank} of {self.size} ends (status {LOST_STATUS}).\n")
        sys.stderr.flush()
        deadline = time.monotonic() + 2.0         # the chief goes last: jax's coordinator lives in it
        while wait and time.monotonic() < deadline and not all(peer.gone for peer in self.peers.values()):
            time.sleep(0.02)
        os._exit(LOST_STATUS)

    # -- the end

    def _failed(self, kind, error, trace):
        """An exception nobody caught: show it, tell the others, and do not wait for them."""
        self._before(kind, error, trace)
        sys.stderr.flush()
        if kind.__name__ in ("JaxRuntimeError", "XlaRuntimeError"):
            time.sleep(min(10.0, self.silent))       # perhaps a lost peer broke the collective: its name comes first
        self.ending = True
        for peer in self.peers.values():
            peer.send(**({"lost": f"{self.name(0)} failed: {kind.__name__}: {error}"[:2000]} if self.rank == 0
                         else {"bye": f"{kind.__name__}: {error}"[:2000]}))
        sys.stdout.flush()
        deadline = time.monotonic() + 2.0
        while self.rank == 0 and time.monotonic() < deadline and not all(p.gone for p in self.peers.values()):
            time.sleep(0.02)
        os._exit(1)

    def leave(self):
        """Say goodbye: this process ends as it should."""
        for peer in self.peers.values():
            peer.send(bye="done", steps=Placement.dispatched)
        self.ending = self.rank == 0 or self.ending


def split_address(address):
    """Return (host, port) of 'host:port'.

    Raises:
        ValueError: it is no such thing.
    """
    host, colon, port = str(address).rpartition(":")
    if not colon or not port.isdigit() or not host or not 0 < int(port) < 65536:
        raise ValueError(f"A worker's address is 'host:port', such as 'localhost:12345', but received {address!r}.")
    return host.strip("[]"), int(port)


def _listed(names):
    text = " and ".join(names)
    return text[:1].upper() + text[1:]


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."


CLUSTER = Cluster()
atexit.register(lambda: CLUSTER.size > 1 and CLUSTER.leave())
