# SPDX-License-Identifier: Apache-2.0
"""web.py CHROMIUM URL TOKEN PICTURE BROKEN FASHION PROVIDER-PID: the page in a real browser, by the DevTools protocol on a pipe."""
import base64
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE = 60


class Browser:
    def __init__(self, program, profile):
        ours, theirs = os.pipe(), os.pipe()  # what we write, what we read

        def wire():
            high = os.dup(ours[0]), os.dup(theirs[1])  # 3 and 4 may be in use by the pipes themselves
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--remote-debugging-pipe", "--user-data-dir=" + profile, "about:blank"],
            close_fds=False, preexec_fn=wire, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(ours[0])
        os.close(theirs[1])
        self.out, self.inn, self.buffer, self.number = ours[1], theirs[0], b"", 0
        self.requested, self.complaints, self.session = [], [], None

    def message(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.inn], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            more = os.read(self.inn, 1 << 16)
            if not more:
                raise EOFError("the browser has ended")
            self.buffer += more
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def note(self, m):
        p = m.get("params", {})
        if m.get("method") == "Network.requestWillBeSent":
            self.requested.append(p["request"]["url"])
        elif m.get("method") == "Log.entryAdded" and p["entry"].get("source") in ("security", "javascript"):
            self.complaints.append(p["entry"]["text"])
        elif m.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(p["exceptionDetails"]))

    def call(self, method, **params):
        self.number += 1
        m = {"id": self.number, "method": method, "params": params}
        if self.session:
            m["sessionId"] = self.session
        os.write(self.out, json.dumps(m).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            m = self.message(deadline)
            if m.get("id") == self.number:
                if "error" in m:
                    raise RuntimeError(method + ": " + m["error"]["message"])
                return m["result"]
            self.note(m)

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Page", "DOM", "Log", "Network"):
            self.call(domain + ".enable")
        self.call("Page.navigate", url=url)

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def await_value(self, expression, wanted=True):
        deadline = time.monotonic() + PATIENCE
        got = None
        while time.monotonic() < deadline:
            got = self.value(expression)
            if got == wanted:
                return got
            time.sleep(0.1)
        return got

    def upload(self, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[path])


def check(name, wanted, got):
    print(("ok - " if wanted == got else "not ok - ") + name)
    if wanted != got:
        print(f"  # wanted: {wanted!r}\n  # got: {got!r}")


def text(selector):
    return f"(document.querySelector({selector!r}) || {{}}).textContent"


def pixels(canvas):
    """Each pixel's red on a canvas, with commas."""
    return (f"(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0)"
            f".join())(document.getElementById({canvas!r}))")


def drop(path):
    """A file that is dragged onto the page."""
    with open(path, "rb") as f:
        data = base64.b64encode(f.read()).decode()
    return (f"(t => {{ t.items.add(new File([Uint8Array.from(atob('{data}'), c => c.charCodeAt(0))], 'dropped.png'));"
            "document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: t, bubbles: true, "
            "cancelable: true})) })(new DataTransfer())")


def scenario(b, url, token, picture, broken, fashion, provider):
    b.open(url)
    check("token: it is asked for, and nothing is told before", [False, 0],
          b.await_value("[document.getElementById('token-row').hidden, document.querySelectorAll('#model option').length]",
                        [False, 0]))
    b.value(f"document.getElementById('token').value = {token!r}; document.getElementById('token-save').click()")
    check("page: models are offered", True, b.await_value("document.querySelectorAll('#model option').length == 3"))
    check("page: both peers are connected", True, b.await_value("document.querySelectorAll('#peers .up').length == 2"))

    b.value("document.getElementById('model').value = 'digits_mlp'")
    b.upload(picture)
    check("upload: the answer", "seven", b.await_value(text("#label"), "seven"))
    check("upload: ten scores, the best first", [10, "seven"],
          b.value("[document.querySelectorAll('#scores li').length, document.querySelector('#scores span').textContent]"))
    check("upload: round trips as planned", ["3", "3"],
          b.value("[...document.querySelector('#costs tbody tr').cells].slice(1).map(c => c.textContent)"))
    check("upload: all costs as planned", True,
          b.value("[...document.querySelectorAll('#costs tbody tr')].slice(0, 5).every(r => r.cells[1].textContent == "
                  "r.cells[2].textContent && r.cells[1].textContent.length > 0)"))
    check("upload: where the time went, four parts", 4, b.value("document.querySelectorAll('#times li').length"))
    check("upload: layers by name, with times", True,
          b.value("(r => r.length > 3 && r[0].cells[1].textContent == 'mask' && r.every(x => x.cells[2].textContent"
                  ".endsWith(' ms')))([...document.querySelectorAll('#layers tbody tr')])"))
    owner, model, nothing = (b.value(pixels("view-" + who)) for who in ("owner", "model", "provider"))
    check("views: the data owner's has dark and bright pixels", True, "255" in owner.split(",") and owner.count("0,") > 300)
    check("views: the model owner's is another", True, len(set(model.split(","))) > 100 and model != owner)
    check("views: the provider's is plain", {"128"}, set(nothing.split(",")))
    b.upload(picture)
    b.await_value("document.getElementById('result').hidden", False)
    check("views: the model owner's differs each time", True, b.value(pixels("view-model")) != model)
    check("pools: live, with tickets used", True, b.await_value("(r => r && Number(r.cells[4].textContent) >= 2)(["
          "...document.querySelectorAll('#pools tbody tr')].find(r => r.cells[0].textContent == 'digits_mlp'))"))

    b.value("document.getElementById('reveal').value = 'label'")
    b.upload(picture)
    check("label only: the answer without scores", ["seven", 0],
          b.await_value("[document.getElementById('label').textContent, document.querySelectorAll('#scores li').length]",
                        ["seven", 0]))
    b.value("document.getElementById('reveal').value = 'logits'")
    b.value("document.getElementById('model').value = 'fashion_res'")
    b.upload(fashion)
    check("another model", "sneaker", b.await_value(text("#label"), "sneaker"))

    b.value("document.getElementById('model').value = 'digits_mlp'")
    b.value(drop(picture))
    check("a file that is dropped", "seven", b.await_value(text("#label"), "seven"))

    b.upload(broken)
    check("error: a broken picture", True,
          b.await_value("document.getElementById('error').textContent.includes('corrupt PNG')"))
    check("error: no result is shown beside it", True, b.value("document.getElementById('result').hidden"))

    os.kill(provider, signal.SIGKILL)
    check("peer down: it is shown", True, b.await_value("document.querySelectorAll('#peers .down').length == 1"))
    b.value("document.getElementById('model').value = 'digits_mlp'")
    b.upload(picture)
    check("peer down: the error names it", True,
          b.await_value("document.getElementById('error').textContent.includes('provider')"))

    origin = url.rstrip("/")
    check("nothing is asked from anywhere else", [],
          [u for u in b.requested if not u.startswith((origin + "/", "data:", "about:"))])
    check("no script failed, no policy was broken", [], [c for c in b.complaints if not any(s in c for s in ("400", "401", "503"))])


def main():
    program, url, token, picture, broken, fashion, provider = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        b = Browser(program, profile)
        try:
            scenario(b, url, token, picture, broken, fashion, int(provider))
        except (TimeoutError, EOFError, RuntimeError, OSError) as e:
            print("not ok - the browser:", e)
        finally:
            try:
                b.session = None
                b.call("Browser.close")
                b.process.wait(10)
            except (TimeoutError, EOFError, RuntimeError, OSError, subprocess.TimeoutExpired):
                b.process.kill()
                b.process.wait()


main()
