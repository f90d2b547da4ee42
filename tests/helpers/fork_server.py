"""Imports modules once and forks the programs of `forked.py` from there: `python fork_server.py MODULE ...`.

A program has arguments, variables, streams, a folder and a session of its own, as one that Python starts; only the
modules are there already. What it spawns by multiprocessing are its own children, forked before it has run a line. It
must not differ from this process in a variable that those modules read while they are imported.

Its standard input is a socket; it ends with that.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing import util
from typing import Any

SPARES = 3, 2  # processes that a program may spawn in this way, and each of those; Python is started for further ones
LONGEST = 1 << 17  # bytes of a message
ABOVE = 512  # the numbers of open files on their way to the ones that they must have
MARK = "--multiprocessing-fork"  # behind what Python runs for a process that multiprocessing spawns

Run = Callable[[], Any]


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A message and its open files; {} from a program that is gone."""
    message, files, *_ = socket.recv_fds(connection, LONGEST, 16)
    return (json.loads(message) if message else {}), files


def place(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files these numbers."""
    held = [fcntl.fcntl(file, fcntl.F_DUPFD, ABOVE) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(held, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def serve(control: socket.socket) -> Run:
    """Fork a process for each message, until nobody is left to send one. What it returns is to be run, in each."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        asked, files = receive(control)
        if not asked:
            return lambda: None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return begin(asked, *files)
        for file in files:
            os.close(file)


def begin(asked: dict[str, Any], told: int, *streams: int) -> Run:
    """Fork a program, which tells its number; its parent tells how it ended."""
    connection = socket.socket(fileno=told)
    pid = os.fork()
    if pid:
        for file in streams:
            os.close(file)
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    os.setsid()
    connection.send(str(os.getpid()).encode())
    connection.close()
    place(streams, (0, 1, 2))
    os.chdir(asked["folder"])
    return program(asked["arguments"], asked["variables"])


def program(arguments: list[str], variables: dict[str, str]) -> Run:
    """`python -m MODULE ...`, `python -c CODE ...` or `python FILE ...`, or one of the processes that it spawns."""
    own = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    become(variables)
    spawned = spares(*SPARES)
    if spawned:
        return spawned
    first, *rest = arguments
    sys.path[0:1] = ["" if first in ("-m", "-c") else os.path.dirname(first), *own]
    if first == "-m":
        sys.argv = rest
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    if first == "-c":
        sys.argv = [first, *rest[1:]]
        return lambda: exec(rest[0], {"__name__": "__main__"})
    sys.argv = arguments
    return lambda: runpy.run_path(first, run_name="__main__")


def become(variables: dict[str, str]) -> None:
    """Take over the environment of another process."""
    os.environ.clear()
    os.environ.update(variables)


def spares(count: int, *inner: int) -> Run | None:
    """Fork children that wait for what multiprocessing spawns, with children of their own. None in this process."""
    waiting: list[tuple[int, socket.socket]] = []
    for _ in range(count):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            for _, other in waiting:
                other.close()
            ours.close()
            return (spares(*inner) if inner else None) or child(theirs)
        theirs.close()
        waiting.append((pid, ours))
    start = util.spawnv_passfds

    def spawn(path: Any, arguments: Sequence[str], files: Sequence[int]) -> int:
        if not waiting or arguments[-1] != MARK:
            return start(path, arguments, files)
        pid, connection = waiting.pop()
        asked = {"code": arguments[-2], "variables": dict(os.environ), "numbers": files}
        socket.send_fds(connection, [json.dumps(asked).encode()], files)
        connection.close()
        return pid

    util.spawnv_passfds = spawn
    return None


def child(connection: socket.socket) -> Run:
    """What Python would run for a process that multiprocessing spawns."""
    asked, files = receive(connection)
    connection.close()
    if not asked:
        os._exit(0)
    become(asked["variables"])
    place(files, asked["numbers"])
    sys.argv = ["-c", MARK]
    return lambda: exec(asked["code"], {})


def main(*modules: str) -> Run:
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"importing {', '.join(modules)} starts {threads - 1} threads, which no fork would have"
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        return serve(control)


if __name__ == "__main__":
    main(*sys.argv[1:])()
