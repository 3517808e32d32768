"""Who may connect: CURVE on every socket, and an allow-list asked at each handshake (ZAP)."""

import zmq

from sadstream.events.keys import AllowList, ServerKeys, zap_answer

ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by RFC 27
ZAP_DOMAIN = b"sadstream"  # without a domain libzmq would not ask


class ZapAuthenticator:
    """Open without keys; with keys it answers each handshake in its owner's thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys | None) -> None:
        self._keys = keys
        self.socket: zmq.Socket[bytes] | None = None
        if keys is not None:
            self._allowed = AllowList(keys.allowed)
            self.socket = context.socket(zmq.REP)
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.bind(ZAP_ENDPOINT)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket, before it is bound, let in only whom the list names."""
        if self._keys is not None:
            socket.curve_server = True
            socket.curve_secretkey = self._keys.secret
            socket.zap_domain = ZAP_DOMAIN

    def answer(self, most: int) -> None:
        """Answer the handshakes that wait, at most so many."""
        if self.socket is None:
            return
        for _ in range(most):
            if not self.socket.poll(0):
                return
            reply = zap_answer(self.socket.recv_multipart(), self._allowed)
            self.socket.send_multipart([b""] if reply is None else reply)
