# SPDX-License-Identifier: Apache-2.0
"""Peers that break the rules, against real roles: hostile.py ATTACK PKI ADDRESS [ARGUMENT...]. Prints what came of it."""
import socket
import ssl
import struct
import sys
import time

TYPES = dict(HELLO=1, ERROR=2, PING=3, PONG=4, CLOSE=5, MODELS=8, MODEL_LIST=9, OPEN=10, OPENED=11, WEIGHTS=12, PAIR=16, PAIRED=17,
             CREDIT=18, TAGS=19, CORRECTIONS=20, HELD=23, DELTA=21, READY=22, BEGIN=24, STEP=25, ABORT=26)
NAMES = {v: k for k, v in TYPES.items()}


# ---- protobuf, as little as is needed

def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def number(field, value):
    return varint(field << 3) + varint(value) if value else b''


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def fields(message):
    """{field: [values]}, bytes or numbers."""
    at, out = 0, {}

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        key = take()
        value = take()
        if key & 7 == 2:
            value, at = message[at:at + value], at + value
        out.setdefault(key >> 3, []).append(value)
    return out


# ---- frames

class Gone(Exception):
    pass


class Peer:
    """One connection as a role, after HELLO."""

    def __init__(self, pki, role, address, name=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(f'{pki}/ca.pem')
        context.load_cert_chain(f'{pki}/{name or role}.pem', f'{pki}/{name or role}.key')
        host, port = address.rsplit(':', 1)
        self.socket = context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=host)
        self.socket.settimeout(10)
        self.have = b''
        _, _, _, _, _, hello = self.receive()  # it has the digest that we need
        self.digest = fields(hello)[3][0]
        self.send('HELLO', number(1, 1) + data(2, role) + data(3, self.digest) + data(4, 'hostile'))

    def send(self, kind, body=b'', session=0, lane=0, sequence=0, flags=0, length=None):
        head = struct.pack('<IBBHII', len(body) if length is None else length, TYPES.get(kind, kind), flags, session, lane, sequence)
        try:
            self.socket.sendall(head + body)
        except OSError as e:
            raise Gone(e) from e

    def receive(self):
        """(name, flags, session, lane, sequence, body)"""
        try:
            while len(self.have) < 16 or len(self.have) < 16 + struct.unpack('<I', self.have[:4])[0]:
                more = self.socket.recv(1 << 16)
                if not more:
                    raise Gone('end')
                self.have += more
        except OSError as e:
            raise Gone(e) from e
        n, kind, flags, session, lane, sequence = struct.unpack('<IBBHII', self.have[:16])
        body, self.have = self.have[16:16 + n], self.have[16 + n:]
        if kind == TYPES['PING']:
            self.send('PONG')
            return self.receive()
        return NAMES.get(kind, kind), flags, session, lane, sequence, body

    def until(self, *kinds):
        while True:
            frame = self.receive()
            if frame[0] in kinds:
                return frame


def reason(frame):
    return fields(frame[5]).get(2, [b''])[0].decode()


def wish(model, reveal=0, personality='smpc', optimise=0):
    return data(1, model) + data(2, personality) + number(3, optimise) + number(4, reveal) + number(5, 64)


# ---- attacks

def sessions(pki, address, model, n):
    """Opens n sessions over four connections; prints how many were opened, and the last refusal. Keeps them for a minute."""
    peers = [Peer(pki, 'data-owner', address, 'rogue') for _ in range(4)]
    opened, last = 0, ''
    for i in range(int(n)):
        peer = peers[i % 4]
        peer.send('OPEN', wish(model), session=i + 1)
        frame = peer.until('OPENED', 'ERROR')
        opened += frame[0] == 'OPENED'
        last = reason(frame) if frame[0] == 'ERROR' else last
    print(opened, last, flush=True)
    time.sleep(60)


def refusals(pki, address, model, n):
    """Asks n times for what the rules forbid."""
    peer = Peer(pki, 'data-owner', address, 'rogue')
    for i in range(int(n)):
        peer.send('OPEN', wish(model), session=i + 1)
        last = reason(peer.until('ERROR'))
    print(last)


ATTACKS = {f.__name__: f for f in (sessions, refusals)}

if __name__ == '__main__':
    try:
        ATTACKS[sys.argv[1]](*sys.argv[2:])
    except Gone as gone:
        print('gone:', gone)
