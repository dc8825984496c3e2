# SPDX-License-Identifier: Apache-2.0
"""enclave_hostile.py ENCLAVE CERTIFICATE KEY hold|describe|stale|silent|crowd [COMMAND...]: a client that does what ours does not. hold: says that long
messages will come, on as many connections as it gets, and goes without sending them. describe: asks for a model's description with no picture.
stale: is given evidence, runs COMMAND, then sends a picture over the same connection. Prints what the enclave answers.
silent, crowd: run COMMAND while many connections say nothing at all, or while many with one certificate stay; print its exit code."""
import os
import socket
import ssl
import struct
import subprocess
import sys

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
    held = [socket.create_connection((host, int(port)), timeout=20) for _ in range(200)]
    print(len(held), subprocess.run(sys.argv[5:], stdout=subprocess.DEVNULL).returncode)


def crowd():
    held = []
    try:
        while len(held) < 40:
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


{'hold': hold, 'silent': silent, 'crowd': crowd, 'describe': lambda: classify([]), 'stale': lambda: classify([bytes(784)])}[sys.argv[4]]()
