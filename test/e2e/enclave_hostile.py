# SPDX-License-Identifier: Apache-2.0
"""enclave_hostile.py ENCLAVE CERTIFICATE KEY hold|describe|stale|silent|crowd|greedy|trickle [COMMAND...]: a client that does what ours does not. hold: says that long
messages will come, on as many connections as it gets, and goes without sending them. describe: asks for a model's description with no picture.
stale: is given evidence, runs COMMAND, then sends a picture over the same connection. Prints what the enclave answers.
silent, crowd: run COMMAND while many connections say nothing at all, or while many with one certificate stay, and with its twin; print its
exit code. greedy: asks for evidence over 16 connections without a pause; prints how much was made for it while somebody else waited for one
(whose CERTIFICATE KEY COMMAND names), then what it is told in the end. trickle: listens itself (the first three words are not looked at), and
of an answer that a client waits for gives one byte ten times a second; prints when the client has gone."""
import base64
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

HELLO, EVIDENCE, CLASSIFY = 1, 2, 3


def connect(address, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # evidence is another test's
    context.load_cert_chain(certificate, key)
    host, port = address.rsplit(':', 1)
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=20))


def say(s, kind, body):
    s.sendall(struct.pack('<IB', len(body), kind) + body)


def hear(s):
    def exactly(n):
        data = b''
        while len(data) < n:
            piece = s.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data
    n, kind = struct.unpack('<IB', exactly(5))
    return kind, exactly(n)


def greeted():
    s = connect(*sys.argv[1:4])
    say(s, HELLO, b'D' + os.urandom(32))
    kind, body = hear(s)
    if kind != EVIDENCE:
        raise ValueError(body)
    return s


def answer(s):
    try:
        return hear(s)
    except (EOFError, ConnectionError, ssl.SSLError) as e:
        return 0, f'closed ({type(e).__name__})'.encode()


def hold():
    held = []
    for size in [64 << 20] * 12 + [(1 << k) - 64 for k in range(26, 11, -1) for _ in range(3)]:
        try:
            s = greeted()
        except (OSError, EOFError, ValueError):
            break
        s.sendall(struct.pack('<IB', size, CLASSIFY))
        held.append(s)
    print(f'{len(held)} messages were begun')


def classify(pictures):
    packed = b''
    for p in pictures:
        packed += b'\x2a' + varint(len(p)) + p
    s = greeted()
    if len(sys.argv) > 5:
        subprocess.run(sys.argv[5:], check=True, stdout=subprocess.DEVNULL)
    say(s, CLASSIFY, packed)
    kind, body = answer(s)
    print(kind, body.decode('latin-1'))


def silent():
    host, port = sys.argv[1].rsplit(':', 1)
    held = [socket.socket() for _ in range(200)]
    for s in held:  # some may have to wait until others are accepted
        s.setblocking(False)
        s.connect_ex((host, int(port)))
    print(len(held), subprocess.run(sys.argv[5:], stdout=subprocess.DEVNULL).returncode)


def take(der):
    """The head, the body and the rest of what a DER value begins."""
    n, at = der[1], 2
    if n > 127:
        at = 2 + n - 128
        n = int.from_bytes(der[2:at], 'big')
    return der[:at], der[at:at + n], der[at + n:]


def value(tag, body):
    n = len(body)
    return bytes([tag]) + (bytes([n]) if n < 128 else bytes([0x82, n >> 8, n & 255])) + body


def twin(path):
    """The certificate with the other signature that any holder of an ECDSA signature (r, s) can make, (r, q - s): as good, and another file."""
    q = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551  # order of P-256
    with open(path) as f:
        der = base64.b64decode(f.read().split('-----')[2])
    _, body, _ = take(der)
    tbs_head, tbs, rest = take(body)
    algorithm_head, algorithm, rest = take(rest)
    _, bits, _ = take(rest)
    _, numbers, _ = take(bits[1:])
    r_head, r, rest = take(numbers)
    _, s, _ = take(rest)
    other = q - int.from_bytes(s, 'big')
    other = other.to_bytes(other.bit_length() // 8 + 1, 'big')
    signature = value(3, b'\0' + value(0x30, r_head + r + value(2, other)))
    out = path + '.twin'
    with open(out, 'w') as f:
        f.write('-----BEGIN CERTIFICATE-----\n' + base64.encodebytes(value(0x30, tbs_head + tbs + algorithm_head + algorithm + signature)).decode()
                + '-----END CERTIFICATE-----\n')
    return out


def crowd():
    held, mine = [], sys.argv[2]
    for sys.argv[2] in (mine, twin(mine)):
        try:
            for _ in range(40):
                held.append(greeted())
        except (OSError, EOFError, ValueError) as e:
            print(e)
    print(len(held), subprocess.run(sys.argv[5:], stdout=subprocess.DEVNULL).returncode)


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def greedy():
    """Until it is refused on every connection; meanwhile somebody else asks thrice."""
    made, told = [0] * 16, [b''] * 16

    def ask(i):
        try:
            s = connect(*sys.argv[1:4])
            s.settimeout(60)
            while True:
                say(s, HELLO, b'D' + os.urandom(32))
                kind, body = hear(s)
                if kind != EVIDENCE:
                    told[i] = body
                    return
                made[i] += 1
        except (OSError, EOFError) as e:
            told[i] = str(e).encode()
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    while sum(made) < 1:
        pass
    most = 0
    for _ in range(3):
        s = connect(sys.argv[1], *sys.argv[5:7])
        s.settimeout(60)
        before = sum(made)
        say(s, HELLO, b'D' + os.urandom(32))
        if hear(s)[0] != EVIDENCE:
            print('another one was refused')
        most = max(most, sum(made) - before)
    for t in threads:
        t.join()
    print('another one waited for', 'few' if most < 4 else most, sorted({t.decode() for t in told}))


def trickle():
    listener = socket.create_server(('127.0.0.1', 0))
    print('listening on 127.0.0.1:%d' % listener.getsockname()[1], flush=True)
    while True:
        s, _ = listener.accept()
        try:
            s.sendall(b'\x16\x03\x03\x3f\xff\x02')  # of a ServerHello
            while True:
                time.sleep(.1)
                s.sendall(b'\0')
        except OSError:
            print('gone', flush=True)


if __name__ == '__main__':
    {'hold': hold, 'silent': silent, 'crowd': crowd, 'greedy': greedy, 'trickle': trickle, 'describe': lambda: classify([]), 'stale': lambda: classify([bytes(784)])}[sys.argv[4]]()
