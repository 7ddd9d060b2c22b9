"""A proxy that counts what goes over the wire between two servers."""

import contextlib
import os
import socket
import threading
from pathlib import Path


class Wire:
    """The bytes that went through the proxy, both ways, since `reset`."""

    def __init__(self, directory):
        self.directory = directory
        self.bytes = 0
        self._lock = threading.Lock()

    def reset(self):
        self.bytes = 0

    def carry(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    self.bytes += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def counted_wire(directory, port, server_directory):
    """A socket in `directory` for clients of this port, each of whose connections goes on to that of the server."""
    path = Path(directory) / f".s.PGSQL.{port}"
    wire = Wire(directory)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    os.chmod(path, 0o777)
    listening.listen()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(Path(server_directory) / path.name))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=wire.carry, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield wire
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        path.unlink()
