# SPDX-License-Identifier: Apache-2.0
"""enclave_alone.py PROGRAM CA [UID]: starts the child of an enclave as on a guest of SEV-SNP, with a quoter that has no evidence; with UID it
is not root, so that it cannot take a user of its own. Prints the first that it says, and its exit code."""
import os
import socket
import struct
import sys
import threading

control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
quoter, its_quoter = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
program, ca = (os.open(f, os.O_RDONLY) for f in sys.argv[1:3])
pid = os.fork()
if not pid:
    for at, fd in ((13, its_control.fileno()), (14, its_quoter.fileno()), (15, ca), (16, program)):
        os.dup2(fd, at)
    for at in (3, 4, 5):
        os.dup2(at + 10, at)
    if len(sys.argv) > 3:
        os.setuid(int(sys.argv[3]))
    os.execve(16, ['obscura-enclave', 'child', 'tsm'], {})
its_control.close()
its_quoter.close()


def answer():
    while quoter.recv(100):
        quoter.send(struct.pack('<III', 0, 2, 0) + b'no')


threading.Thread(target=answer, daemon=True).start()
print(control.recv(500).decode(), flush=True)
control.close()
print('exit', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
