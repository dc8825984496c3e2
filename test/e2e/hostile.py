# SPDX-License-Identifier: Apache-2.0
"""Peers that break the rules, against real roles: hostile.py ATTACK PKI ADDRESS [ARGUMENT...]. Prints what came of it."""
import base64
import hashlib
import json
import os
import random
import re
import shutil
import socket
import ssl
import struct
import sys
import time

sys.dont_write_bytecode = True
from enclave_hostile import twin  # noqa: E402

TYPES = dict(HELLO=1, ERROR=2, PING=3, PONG=4, CLOSE=5, MODELS=8, MODEL_LIST=9, OPEN=10, OPENED=11, WEIGHTS=12, PAIR=16, PAIRED=17,
             CREDIT=18, TAGS=19, CORRECTIONS=20, HELD=23, DELTA=21, READY=22, BEGIN=24, STEP=25, ABORT=26,
             HE_KEY=27, HE_READY=28, HE_TICKET=29)
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
    """Opens n sessions over four connections, two of them with the certificate's twin; prints how many were opened, and the last refusal.
    Keeps them for a minute."""
    shutil.copy(twin(f'{pki}/rogue.pem'), f'{pki}/rogue-twin.pem')
    shutil.copy(f'{pki}/rogue.key', f'{pki}/rogue-twin.key')
    peers = [Peer(pki, 'data-owner', address, name) for name in ('rogue', 'rogue-twin') * 2]
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


class Session:
    """A session of smpc as a data owner, up to complete tickets. Its numbers are noise: the model owner cannot tell."""

    def __init__(self, pki, model_owner, provider, model, tickets=8):
        self.m, self.c = Peer(pki, 'data-owner', model_owner, 'rogue'), Peer(pki, 'data-owner', provider, 'rogue')
        self.m.send('OPEN', wish(model), session=5)
        self.opened = fields(self.m.until('OPENED')[5])
        plan, self.epoch, token = self.opened[1][0], self.opened[2][0], self.opened[3][0]
        left = self.opened[6][0]
        while left:
            left -= len(self.m.until('WEIGHTS')[5])
        certificate = self.m.socket.getpeercert(True)
        pair = data(1, token) + data(2, self.epoch) + data(3, hashlib.sha256(plan).digest())
        self.c.send('PAIR', pair + data(4, hashlib.sha256(certificate).digest()) + data(7, model), session=5)
        self.c.until('PAIRED')
        self.c.send('CREDIT', session=5, lane=tickets)
        self.tags = b''
        while len(self.tags) < 20 * tickets:
            self.tags += self.c.until('TAGS')[5]
        self.tag = [self.tags[20 * t:20 * t + 16] for t in range(tickets)]

    def delta(self, ticket, n, flags=0):
        self.m.send('DELTA', os.urandom(n), session=5, lane=ticket, flags=flags)

    def begin(self, first, n=1, tags=None, epoch=None):
        tags = b''.join(self.tag[first:first + n]) if tags is None else tags
        self.m.send('BEGIN', (epoch or self.epoch) + struct.pack('<I', n) + tags, session=5, lane=first)

    def step(self, ticket, n, sequence=0, flags=0):
        self.m.send('STEP', os.urandom(n), session=5, lane=ticket, sequence=sequence, flags=flags)


def replays(pki, model_owner, provider, model, delta, first, second):
    """Every way to have a ticket answered twice; prints what came after the first answer. delta, first: bytes of δ of a ticket and
    of the first message of an inference; second: sequence of the message after the answer."""
    delta, first, second = int(delta), int(first), int(second)
    ways = {
        'BEGIN again': lambda s: s.begin(0),
        'the first message again': lambda s: s.step(0, first),
        'all again': lambda s: (s.begin(0), s.step(0, first)),
        'in a batch with the next': lambda s: s.begin(0, 2),
        'δ again': lambda s: s.delta(0, delta),
        'the next with the tag of the last': lambda s: s.begin(1, tags=s.tag[0]),
        'the one after the next': lambda s: s.begin(2),
        'another epoch': lambda s: s.begin(1, epoch=bytes(16)),
        'a message ahead of its turn': lambda s: s.step(0, 1, second + 2),
        'ABORT, then all again': lambda s: (s.m.send('ABORT', session=5, lane=0), s.begin(0), s.step(0, first)),
    }
    for name, way in ways.items():
        session = Session(pki, model_owner, provider, model)
        for ticket in range(4):
            session.delta(ticket, delta)
        while session.m.until('READY')[4 - 1] < 4:
            pass
        session.begin(0)
        session.step(0, first)
        answer = b''
        while True:
            frame = session.m.until('STEP', 'ERROR')
            answer += frame[5]
            if frame[0] == 'ERROR' or not frame[1] & 1:
                break
        if frame[0] == 'ERROR':
            print('no answer:', reason(frame))
            return
        way(session)
        frame = session.m.until('STEP', 'ERROR', 'READY', 'ABORT')
        print(f'{name}: {frame[0]} {reason(frame) if frame[0] == "ERROR" else ""}')


def storm(pki, model_owner, provider, model, delta, first, seed, n):
    """n sessions in which frames of any kind, number and length come at any time."""
    random.seed(int(seed))
    delta, first = int(delta), int(first)
    kinds = [k for k in TYPES if k not in ('HELLO', 'OPEN')] + [32, 99]
    sent = 0
    for _ in range(int(n)):
        try:
            s = Session(pki, model_owner, provider, model)
            for ticket in range(random.randrange(5)):
                s.delta(ticket, delta)
            for _ in range(random.randrange(12)):
                sent += 1
                roll = random.random()
                if roll < .3:
                    s.begin(random.randrange(4), random.choice((1, 1, 1, 2, 3, 0, 4094)))
                elif roll < .6:
                    s.step(random.randrange(4), random.choice((first, first, first // 2, 1, 0)), random.choice((0, 0, 2, 4)), random.choice((0, 0, 1)))
                else:
                    peer = random.choice((s.m, s.c))
                    peer.send(random.choice(kinds), os.urandom(random.choice((0, 0, 1, 20, 36, 52, 300, 5000))),
                              session=random.choice((5, 5, 5, 0, 6, 65535)), lane=random.choice((0, 1, 2, 8, 2**32 - 1, 2**31)),
                              sequence=random.choice((0, 0, 1, 2, 2**32 - 1)), flags=random.choice((0, 0, 1, 255)))
            s.m.socket.settimeout(.1)
            while True:
                s.m.receive()
        except Gone:
            pass
    print(sent)


def two_party_storm(pki, model_owner, model, seed, n):
    """The same of he, with tickets and without, and clear: keys, requests and masks of the right size as soon as a refusal has told it, which
    counts; prints how many frames were sent, and how many were answered."""
    random.seed(int(seed))
    sizes = {'request': [784], 'masks': [1]}
    sent = answered = 0
    for _ in range(int(n)):
        try:
            peer = Peer(pki, 'data-owner', model_owner, 'rogue')
            personality = random.choice(('he', 'he', 'clear'))
            peer.send('OPEN', wish(model, personality=personality) + number(6, random.randrange(2)), session=5)
            epoch = fields(peer.until('OPENED')[5])[2][0]
            if personality == 'he' and random.random() < .9:
                key = bytes(random.choice((16704, 53280)))  # he_public_bytes of both sets; zeros are below any prime
                peer.send('HE_KEY', hashlib.sha256(key).digest(), session=5)
                if peer.until('HE_READY', 'ERROR')[3] == 0:
                    peer.send('HE_KEY', key, session=5, lane=1)
            if random.random() < .6:  # as it should be, at first
                peer.send('BEGIN', epoch + struct.pack('<I', 1), session=5)
                peer.send('STEP', bytes(784 if personality == 'clear' else sizes['request'][-1]), session=5)
            for _ in range(random.randrange(1, 14)):
                sent += 1
                roll, some = random.random(), random.choice((os.urandom, bytes))
                if roll < .3:
                    peer.send('BEGIN', (epoch if roll < .27 else bytes(16)) + struct.pack('<I', random.choice((1, 1, 1, 2, 0, 129, 2**32 - 1))),
                              session=5, lane=random.choice((0, 0, 1, 2)))
                elif roll < .6:
                    peer.send('STEP', some(random.choice([0, 783, 784, 1 << 20] + 3 * sizes['request'])), session=5,
                              lane=random.choice((0, 0, 1)), sequence=random.choice((0, 0, 2, 4)), flags=random.choice((0, 0, 1)))
                elif roll < .8:
                    peer.send('HE_TICKET', bytes(random.choice([0, 1 << 20] + 3 * sizes['masks'])), session=5,
                              lane=random.choice((0, 0, 1, 2)), flags=random.choice((0, 0, 1)))
                elif roll < .87:
                    peer.send(random.choice(('OPEN', 'CLOSE')), session=random.choice((5, 6)), flags=random.choice((0, 1)))
                else:
                    peer.send(random.choice(list(TYPES)), os.urandom(random.choice((0, 1, 20, 32, 300))), session=random.choice((5, 5, 0, 65535)),
                              lane=random.choice((0, 1, 2**32 - 1)), sequence=random.choice((0, 1, 2**32 - 1)), flags=random.choice((0, 1, 255)))
            peer.socket.settimeout(.1)
            while True:
                frame = peer.receive()
                answered += frame[0] in ('STEP', 'HE_TICKET')
                told = re.search('(request|masks) of another size than ([0-9]+)', reason(frame)) if frame[0] == 'ERROR' else None
                if told and int(told[2]) not in sizes[told[1]]:
                    sizes[told[1]].append(int(told[2]))
        except Gone:
            pass
    print(sent, 'answered' if answered else 'nothing was answered')


def plans(pki, model_owner, model, seed, n):
    """A model owner whose OPENED is the real one's with changed bytes, or whose plan asks for memory; prints its port, then what the
    data owner said. It answers n sessions."""
    random.seed(int(seed))
    real = Peer(pki, 'data-owner', model_owner, 'rogue')
    real.send('OPEN', wish(model), session=1)
    opened = real.until('OPENED')[5]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f'{pki}/model-owner.pem', f'{pki}/model-owner.key')
    listener = socket.create_server(('127.0.0.1', 0))
    print('listening on 127.0.0.1:%d' % listener.getsockname()[1], flush=True)
    served = 0
    while served < int(n):
        peer = Peer.__new__(Peer)
        peer.socket, peer.have = context.wrap_socket(listener.accept()[0], server_side=True), b''
        peer.socket.settimeout(10)
        peer.send('HELLO', number(1, 1) + data(2, 'model-owner') + data(3, real.digest) + data(4, 'hostile'))
        try:
            while served < int(n):
                frame = peer.receive()
                if frame[0] == 'MODELS':
                    peer.send('MODEL_LIST', data(1, data(1, model) + data(2, number(1, 1) + number(2, 28) + number(3, 28))))
                elif frame[0] == 'OPEN':
                    served += 1
                    body = bytearray(opened)
                    for _ in range(random.randrange(1, 5)):
                        body[random.randrange(len(body))] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
                    if served % 8 == 0:
                        body = data(1, bomb()) + opened[len(data(1, fields(opened)[1][0])):]
                    peer.send('OPENED', bytes(body), session=frame[2])
                    for _ in range(random.randrange(3)):
                        peer.send(random.choice(('WEIGHTS', 'READY', 'STEP', 'ABORT')), os.urandom(random.choice((0, 0, 5, 2000))),
                                  session=frame[2], lane=random.choice((0, 1, 9, 2**32 - 1)))
        except Gone:
            pass
    print('served', served)


def names(pki, model_owner):
    """A model owner whose models' names and refusals are orders to a terminal."""
    digest = Peer(pki, 'data-owner', model_owner, 'rogue').digest
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f'{pki}/model-owner.pem', f'{pki}/model-owner.key')
    listener = socket.create_server(('127.0.0.1', 0))
    print('listening on 127.0.0.1:%d' % listener.getsockname()[1], flush=True)
    for i in range(1000):
        peer = Peer.__new__(Peer)
        peer.socket, peer.have = context.wrap_socket(listener.accept()[0], server_side=True), b''
        peer.socket.settimeout(10)
        try:
            peer.send('HELLO', number(1, 1) + data(2, 'model-owner') + data(3, digest) + data(4, 'hostile'))
            peer.until('MODELS')
            if i % 2:
                peer.send('MODEL_LIST', data(1, data(1, 'a\033]0;mine\007')) + data(1, data(1, 'b')))
            else:
                peer.send('ERROR', number(1, 4) + data(2, 'look \033[31mhere \u009b31m'))
            peer.receive()
        except Gone:
            pass


def bomb():
    """A plan of few bytes whose maximum pools have 2^26 elements each."""
    def shape(c, h, w):
        return number(1, c) + number(2, h) + number(3, w)

    def window():
        return (data(1, shape(1, 287, 287)) + data(2, shape(1, 32, 32)) + number(3, 256) + number(4, 256)
                + b''.join(number(f, 1) for f in (5, 6, 7, 8)))

    def value(form, s, k):
        return data(1, number(1, form) + data(2, s) + number(3, k))

    def row(kind, one, out, more=b''):
        return data(2, number(1, kind) + data(2, varint(one)) + number(3, out) + more + data(7, varint(0)))
    large, small, pools = shape(1, 287, 287), shape(1, 32, 32), 40
    values = value(0, large, 20) + value(1, large, 20) + value(2, large, 20) + value(2, small, 20) * pools + value(0, small, 20) + value(3, small, 20)
    rows = row(0, 0, 1) + row(1, 1, 2, data(4, number(1, 2) + number(2, 1) + data(3, data(1, b'') + data(2, b''))))
    rows += b''.join(row(4, 2, 3 + i, data(5, window())) for i in range(pools))
    rows += row(3, 2 + pools, 3 + pools) + row(8, 3 + pools, 4 + pools)
    return values + rows + data(3, large) + number(9, 1)


def remains(pid, address):
    """Sends a picture in every form to the HTTP API; prints the forms of which something is still in the daemon's memory."""
    host, port = address.rsplit(':', 1)

    def post(body, head):
        s = socket.create_connection((host, int(port)), 10)
        s.sendall(f'POST /v2/models/digits_mlp/infer HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{head}\r\n\r\n'.encode() + body)
        answer = b''
        while more := s.recv(1 << 16):
            answer += more
        if b'HTTP/1.1 200' not in answer:
            raise Gone(answer)

    def memory():
        with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb') as mem:
            for line in maps:
                first, last = (int(x, 16) for x in line.split()[0].split('-'))
                if line.split()[1][0] != 'r' or '[v' in line:
                    continue
                try:
                    mem.seek(first)
                    yield mem.read(last - first)
                except OSError:
                    pass

    def request(**more):
        return json.dumps({'inputs': [{'name': 'image', **more}], 'outputs': [{'name': 'label'}, {'name': 'view_data_owner'}]}).encode()
    left, marks = [], {}
    for form in ('raw', 'json', 'file', 'base64'):
        pixels = os.urandom(784)
        file = b'P5 28 28 255\n' + pixels
        if form == 'raw':
            post(pixels, 'Inference-Header-Content-Length: 0')
        elif form == 'json':
            post(request(datatype='UINT8', shape=[1, 1, 28, 28], data=list(pixels)), 'Content-Type: application/json')
        elif form == 'base64':
            post(request(datatype='BYTES', shape=[1], data=[base64.b64encode(file).decode()]), 'Content-Type: application/json')
        else:
            head = request(datatype='BYTES', shape=[1], parameters={'binary_data_size': len(file) + 4})
            post(head + struct.pack('<I', len(file)) + file, f'Inference-Header-Content-Length: {len(head)}')
        text = ','.join(str(x) for x in pixels)
        marks[form] = [pixels[n:n + 24] for n in range(0, 760, 40)] + [text[n:n + 40].encode() for n in range(0, 2000, 100)]
        marks[form] += [text[n:n + 40].replace(',', ', ').encode() for n in range(0, 2000, 100)]
        marks[form] += [base64.b64encode(file)[n:n + 32] for n in range(20, 1000, 50)]
    time.sleep(1.5)  # buffers of connections shrink after a quiet second
    for block in memory():
        left += [form for form, all_ in marks.items() if any(mark in block for mark in all_)]
    print('left:', *sorted(set(left)))


ATTACKS = {f.__name__: f for f in (sessions, refusals, replays, storm, two_party_storm, plans, names, remains)}

if __name__ == '__main__':
    try:
        ATTACKS[sys.argv[1]](*sys.argv[2:])
    except Gone as gone:
        print('gone:', gone)
