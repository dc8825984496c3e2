# SPDX-License-Identifier: Apache-2.0
"""enclave_release.py SEED SEALED LABEL PLACE...: the key of a sealed file (derived from its owner's seed as daemon/seal.h says), the seed
and a label are searched in processes (numbers) and files. A process of ours that holds the key is the control."""
import hashlib
import os
import struct
import subprocess
import sys


def file_key(seed, sealed):
    name_at = 16 + 8 + 32 + 24
    head = sealed[:name_at + 4 + struct.unpack_from('<I', sealed, name_at)[0]]
    files = hashlib.blake2b(digest_size=32, key=seed, salt=struct.pack('<QQ', 2, 0), person=b'obscseal'.ljust(16, b'\0')).digest()
    return hashlib.blake2b(head, digest_size=32, key=files).digest()


def memory(pid):
    with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb', buffering=0) as mem:
        for line in maps:
            a, b = (int(x, 16) for x in line.split()[0].split('-'))
            if 'r' not in line.split()[1] or a >= 1 << 63 or b - a > 1 << 31:
                continue
            try:
                mem.seek(a)
                yield mem.read(b - a)
            except OSError:
                pass  # secret memory, and what the kernel keeps to itself


def contents(place):
    if place.isdigit():
        yield from memory(place)
        return
    files = [place] if os.path.isfile(place) else [os.path.join(d, f) for d, _, fs in os.walk(place) for f in fs]
    for f in files:
        with open(f, 'rb') as file:
            yield file.read()


def search(place, what):
    """The names of what is there, and how many bytes were searched."""
    found, n = set(), 0
    for data in contents(place):
        n += len(data)
        found |= {name for name, value in what.items() if value in data}
    return found, n


def main():
    seed, sealed = (open(f, 'rb').read() for f in sys.argv[1:3])
    what = {'seed': seed, 'file key': file_key(seed, sealed), 'label': sys.argv[3].encode()}
    holder = subprocess.Popen([sys.executable, '-c', 'import sys; k = sys.stdin.buffer.read(32); print(1, flush=True); sys.stdin.buffer.read()'],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdin.write(what['file key'])
    holder.stdin.flush()
    holder.stdout.readline()
    found, _ = search(str(holder.pid), what)
    holder.stdin.close()
    holder.wait()
    print('ok - the search finds the key where it is' if 'file key' in found else 'not ok - the search finds the key where it is')
    for place in sys.argv[4:]:
        found, n = search(place, what)
        name = f'neither key nor model is in {"process" if place.isdigit() else "file or folder"} {os.path.basename(place) if not place.isdigit() else sys.argv.index(place) - 3}'
        print(f'ok - {name}' if not found and n > 100 else f'not ok - {name}: {found}, {n} bytes searched')


main()
