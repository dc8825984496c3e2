# SPDX-License-Identifier: Apache-2.0
# deploy.py FILE: checks that a Kubernetes file's parts fit together, and prints the arguments of its one container.
import sys
import yaml

docs = [d for d in yaml.safe_load_all(open(sys.argv[1])) if d]
problems = []


def check(ok, what):
    if not ok:
        problems.append(what)


def one(kind):
    found = [d for d in docs if d["kind"] == kind]
    check(len(found) == 1, f"{len(found)} of kind {kind}")
    return found[0]


for d in docs:
    check(set(d) >= {"apiVersion", "kind", "metadata"} and d["metadata"].get("name"), f"{d.get('kind')} is incomplete")
check(len({d["metadata"].get("namespace") for d in docs}) == 1, "several namespaces")
stateful, service = one("StatefulSet"), one("Service")
spec, pod = stateful["spec"], stateful["spec"]["template"]["spec"]
labels = spec["template"]["metadata"]["labels"]
(container,) = pod["containers"]
for who, selector in [("StatefulSet", spec["selector"]["matchLabels"]), ("Service", service["spec"]["selector"])]:
    check(selector.items() <= labels.items(), f"{who} selects other pods")
for d in docs:
    if d["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
        selector = d["spec"].get("selector", d["spec"].get("podSelector"))["matchLabels"]
        check(selector.items() <= labels.items(), f"{d['kind']} selects other pods")
check(spec["serviceName"] == service["metadata"]["name"], "serviceName names no Service")
check(service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["containerPort"], "Service and container differ in port")
volumes = {v["name"] for v in pod["volumes"]} | {v["metadata"]["name"] for v in spec["volumeClaimTemplates"]}
mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
check({m["name"] for m in mounts.values()} == volumes, "volumes and mounts differ")
maps = {d["metadata"]["name"] for d in docs if d["kind"] == "ConfigMap"}
for v in pod["volumes"]:
    check("configMap" not in v or v["configMap"]["name"] in maps, f"volume {v['name']}: no such ConfigMap")
check(container["command"] == ["obscurad"], "the container runs something else")
options = dict(a[2:].split("=", 1) for a in container["args"][1:])
for key in ("ca", "revoked", "certificate", "key", "access", "audit", "ledger", "socket", "admin-socket", "models", "http-token-file"):
    path = options.get(key)
    mount = next((m for p, m in mounts.items() if path and path.startswith(p + "/")), None)
    check(path is None or mount, f"--{key}: {path} is on no volume")
    if mount and key in ("audit", "ledger", "socket", "admin-socket"):
        check(not mount.get("readOnly"), f"--{key}: {path} cannot be written")
port = options.get("listen", options.get("http-listen", "")).rsplit(":", 1)[-1]
check(port == str(container["ports"][0]["containerPort"]), "it listens on another port")
check(int(options["drain-ms"]) < 1000 * pod["terminationGracePeriodSeconds"], "it is killed before it has drained")
check(pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"], "it may do too much")
for probe in ("readinessProbe", "livenessProbe"):
    check(options["admin-socket"] in container[probe]["exec"]["command"], f"{probe} asks another socket")
pod_name = f"{stateful['metadata']['name']}-0"
print("\n".join(a.replace("$(POD)", pod_name) for a in container["args"]))
sys.exit("\n".join(problems) if problems else 0)
