"""Who may connect: CURVE on every socket, and an allow-list asked at each handshake (ZAP)."""

from collections.abc import Mapping

import zmq

from sadstream.events.keys import AllowList, ServerKeys, zap_answer

ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by RFC 27
ZAP_DOMAIN = b"sadstream"  # of whoever may listen; without a domain libzmq would not ask
ROOMS = b"sadstream-rooms"  # of whoever may say something to a gatherer


class ZapAuthenticator:
    """A domain without keys is open; of one with keys each handshake is answered in the owner's thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Mapping[bytes, ServerKeys]) -> None:
        self._keys = keys
        self._allowed = {domain: AllowList(known.allowed) for domain, known in keys.items()}
        self.socket: zmq.Socket[bytes] | None = None
        if keys:
            self.socket = context.socket(zmq.REP)
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.bind(ZAP_ENDPOINT)

    def guard(self, socket: zmq.Socket[bytes], domain: bytes) -> None:
        """Make a socket, before it is bound, let in only whom the domain's list names."""
        if domain in self._keys:
            socket.curve_server = True
            socket.curve_secretkey = self._keys[domain].secret
            socket.zap_domain = domain

    def answer(self, most: int) -> None:
        """Answer the handshakes that wait, at most so many."""
        if self.socket is None:
            return
        for _ in range(most):
            if not self.socket.poll(0):
                return
            request = self.socket.recv_multipart()
            allowed = self._allowed.get(request[2]) if len(request) > 2 else None
            reply = None if allowed is None else zap_answer(request, allowed)
            self.socket.send_multipart([b""] if reply is None else reply)
