# SPDX-License-Identifier: Apache-2.0
"""notify.py COMMAND…: what systemd would hear of a service: waits for READY, two WATCHDOGs, sends SIGHUP, waits for
RELOADING and READY, sends SIGTERM, waits for STOPPING and the end. Prints each message's lines once, in order."""
import os, signal, socket, subprocess, sys, tempfile, time

folder = tempfile.mkdtemp()
path = os.path.join(folder, "notify")
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(path)
listener.settimeout(20)
env = dict(os.environ, NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")
child = subprocess.Popen(sys.argv[1:], env=env, stderr=subprocess.DEVNULL)


def wait_for(*wanted):
    """Reads messages until each wanted line start has come, in this order."""
    for want in wanted:
        while True:
            lines = listener.recv(4096).decode().split("\n")
            hit = [line for line in lines if line.startswith(want)]
            if hit:
                now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                for line in lines:
                    name, _, value = line.partition("=")
                    if name == "MONOTONIC_USEC":
                        print("MONOTONIC_USEC is now" if abs(now - int(value)) < 20_000_000 else line)
                print(hit[0])
                break


try:
    wait_for("READY=1", "WATCHDOG=1", "WATCHDOG=1")
    child.send_signal(signal.SIGHUP)
    wait_for("RELOADING=1", "READY=1", "WATCHDOG=1", "STATUS=")
    child.send_signal(signal.SIGTERM)
    wait_for("STOPPING=1")
    print("exit", child.wait(20))
finally:
    child.poll() is None and child.kill()
    os.unlink(path)
    os.rmdir(folder)
