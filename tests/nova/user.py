#!/usr/bin/python3
#
# user.py: an OpenStack user with the stock client, and a cloud of one machine
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Runs in the machine that scripts/check-nova boots. "alice" uploads enclaves and starts, stops and
deletes them by the command "openstack"; "admin" makes flavors and looks at placement, and root at
the machine: domains, processes and files. The steps build on each other: the first that fails is
the last. Prints how long each has taken, and at the end the memory of all.

Flow: main() -> wait_for_cloud() -> each function of STEPS -> memory().
"""

import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import time

HELLO = "/check-nova/hello.eif"
BANNER = "hello: enclave ready"
FLAVOR = ("--ram", "128", "--vcpus", "1", "--disk", "1",
          "--property", "trait:CUSTOM_NITRO_ENCLAVE_EMULATED=required",
          "--property", "resources:CUSTOM_NITRO_ENCLAVE_SLOT=1")
USED = {"VCPU": 1, "MEMORY_MB": 128, "DISK_GB": 1, "CUSTOM_NITRO_ENCLAVE_SLOT": 1}
INSTANCES = "/var/lib/nova/instances"
SLOTS = 2  # max_enclaves of this machine
# The machine that runs this may be busy, and all is emulated
PATIENCE = 300


class Failure(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Failure(" ".join(map(str, what)))


def wait(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        check(time.monotonic() < end, f"not within {seconds} s:", what)
        time.sleep(1)


def shell(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check(done.returncode == 0, *command, ":", done.stderr)
    return done.stdout.strip()


def client(user, *words):
    """Runs the command "openstack" as @user; returns what it prints."""
    environment = dict(
        os.environ, OS_USERNAME=user, OS_PASSWORD="secret",
        OS_PROJECT_NAME="demo" if user == "alice" else user, OS_USER_DOMAIN_NAME="Default",
        OS_PROJECT_DOMAIN_NAME="Default", OS_IDENTITY_API_VERSION="3",
        OS_AUTH_URL="http://127.0.0.1:5000/v3", OS_PLACEMENT_API_VERSION="1.29",
        OS_COMPUTE_API_VERSION="2.90")
    done = subprocess.run(["openstack", *words], env=environment, capture_output=True, text=True,
                          check=False)
    check(done.returncode == 0, "openstack", *words, ":", done.stdout, done.stderr)
    return done.stdout


def ask(user, *words):
    return json.loads(client(user, *words, "-f", "json"))


def alice(*words):
    return client("alice", *words)


def show(name):
    return ask("alice", "server", "show", name)


def wait_status(name, status):
    def reached():
        server = show(name)
        check(status == "ERROR" or server["status"] != "ERROR", name, ":", server.get("fault"))
        return server["status"] == status and server["OS-EXT-STS:task_state"] is None and server
    return wait(reached, f"{name} {status}")


def create(name, image="hello", flavor="enclave", status="ACTIVE"):
    """Returns the server @name, which becomes @status."""
    words = ("server", "create", "--flavor", flavor, "--image", image, "--nic", "none")
    if status == "ACTIVE":
        alice(*words, "--wait", name)
    else:
        # with --wait the client ends with the status 0 or not, by its version
        alice(*words, name)
        wait(lambda: show(name)["status"] != "BUILD", f"the end of the build of {name}")
    server = show(name)
    check(server["status"] == status, name, server["status"], server.get("fault"))
    return server


def delete(name):
    alice("server", "delete", "--wait", name)


def virsh(*words):
    return shell("virsh", "-c", "nitro:///system", *words)


def domain_id(server):
    return int(virsh("domid", server["id"]))


def placement():
    """What the compute node has, and what of it is used: {class: (total, used)}."""
    node = ask("admin", "resource", "provider", "list")
    check(len(node) <= 1, "resource providers", node)
    if not node:
        return {}
    rows = ask("admin", "resource", "provider", "inventory", "list", node[0]["uuid"])
    return {row["resource_class"]: (row["total"], row["used"]) for row in rows}


def check_placement(count):
    """As much is used as @count enclaves need, and there is what the machine has."""
    found = placement()
    totals = {"VCPU": os.sysconf("SC_NPROCESSORS_ONLN"), "CUSTOM_NITRO_ENCLAVE_SLOT": SLOTS}
    for name, one in USED.items():
        check(found[name][1] == one * count, "placement has", found, "for", count, "enclaves")
    for name, total in totals.items():
        check(found[name][0] == total, "placement has", found, "and the machine", totals)


def check_nothing_left(server):
    """Nothing of @server is on the machine, or allocated."""
    wait(lambda: server["id"] not in virsh("list", "--all", "--uuid").split(), "the domain's end")
    wait(lambda: not os.path.exists(f"{INSTANCES}/{server['id']}"), "the directory's end")
    used = ask("admin", "resource", "provider", "allocation", "show", server["id"])
    check(used == [], server["name"], "still has", used)


def refused(name, *words, image="hello", flavor="enclave"):
    """The build fails; its fault, which the user sees, has @words."""
    server = create(name, image, flavor, status="ERROR")
    message = server["fault"]["message"]
    for word in words:
        check(word in message, f"'{word}' is not in the fault", message)
    check_nothing_left(server)
    delete(name)


def console(name):
    return alice("console", "log", "show", name)


# Steps

def images():
    alice("image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", HELLO,
          "hello")
    alice("image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", HELLO,
          "--property", "nitro:debug=yes", "next")
    alice("image", "create", "--disk-format", "raw", "--container-format", "bare", "--file", HELLO,
          "--property", f"nitro:pcr0={'ab' * 48}", "measured")
    alice("image", "create", "--disk-format", "raw", "--container-format", "bare", "--file",
          "/usr/bin/python3", "nothing")


def flavors():
    client("admin", "flavor", "create", *FLAVOR, "--property", "nitro:debug=yes", "enclave")
    client("admin", "flavor", "create", *FLAVOR, "--property", "nitro:debgu=yes", "wrong")
    client("admin", "flavor", "create", *FLAVOR[:6],
           "--property", "trait:CUSTOM_NITRO_ENCLAVE=required", "device")


def boot():
    check_placement(0)
    server = create("e1")
    wait(lambda: BANNER in console("e1"), "the console's output")
    check(server["name"] in alice("server", "list"), "server list")
    check_placement(1)


def two_fit():
    create("e2")
    check_placement(2)
    server = create("e3", status="ERROR")
    check("No valid host" in server["fault"]["message"], server["fault"])
    check_nothing_left(server)
    delete("e3")
    check_placement(2)
    server = show("e2")
    delete("e2")
    check_nothing_left(server)
    check_placement(1)


def only_on_the_device():
    """a flavor for the device is never emulated"""
    refused("e3", "No valid host", flavor="device")


def stop_and_start():
    before = domain_id(show("e1"))
    alice("server", "stop", "e1")
    server = wait_status("e1", "SHUTOFF")
    check(virsh("domstate", server["id"]) == "shut off", "stopped")
    check_placement(1)
    alice("server", "start", "e1")
    check(domain_id(wait_status("e1", "ACTIVE")) > before, "started anew")
    wait(lambda: BANNER in console("e1"), "the console's output")


def reboots():
    for kind in ("--soft", "--hard"):
        before = domain_id(show("e1"))
        alice("server", "reboot", kind, "--wait", "e1")
        check(domain_id(wait_status("e1", "ACTIVE")) > before, "rebooted", kind)
    check_placement(1)


def rebuild():
    image = show("e1")["image"]
    alice("server", "rebuild", "--image", "next", "--wait", "e1")
    server = wait_status("e1", "ACTIVE")
    check(server["image"] != image, server["image"])
    cached = os.stat(f"{INSTANCES}/_base/{ask('alice', 'image', 'show', 'next')['id']}")
    check(os.stat(f"{INSTANCES}/{server['id']}/image").st_ino == cached.st_ino, "the new image")
    check_placement(1)


def faults():
    refused("f1", "PCR0", image="measured")
    refused("f2", "image", image="nothing")
    refused("f3", "nitro:debgu", flavor="wrong")
    check_placement(1)


def cannot():
    """what an enclave cannot do leaves it as it is"""
    before = domain_id(show("e1"))
    alice("server", "pause", "e1")
    wait_status("e1", "ACTIVE")
    alice("server", "image", "create", "--name", "copy", "e1")
    # both are refused on the compute node, after the answer to the client
    wait(lambda: not any(row["Name"] == "copy" for row in ask("alice", "image", "list")),
         "the end of the image of a snapshot")
    check(domain_id(wait_status("e1", "ACTIVE")) == before, "runs on")


def ends_by_itself():
    # the only server
    qemu = list(map(int, shell("pgrep", "qemu-system").split()))
    check(len(qemu) == 1, "QEMU of e1", qemu)
    os.kill(qemu[0], signal.SIGKILL)
    wait_status("e1", "SHUTOFF")
    alice("server", "start", "e1")
    wait_status("e1", "ACTIVE")


def restarts():
    """of nova-compute and virtnitrod: the enclave runs on"""
    server = show("e1")
    before = domain_id(server)
    for command in (("systemctl", "restart", "nova-compute"),
                    ("systemctl", "restart", "virtnitrod"),
                    ("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "virtnitrod")):
        shell(*command)
        check(domain_id(server) == before, *command)
        wait_compute()
        # nova knows it as well: it can reboot it
        check(show("e1")["status"] == "ACTIVE", show("e1"))
    alice("server", "reboot", "--hard", "--wait", "e1")
    check(domain_id(wait_status("e1", "ACTIVE")) > before, "rebooted after the restarts")
    check_placement(1)


def delete_all():
    server = show("e1")
    delete("e1")
    check_nothing_left(server)
    check_placement(0)
    check(virsh("list", "--all", "--name") == "", "domains are left")
    left = set(os.listdir(INSTANCES)) - {"_base", "locks", "compute_nodes"}
    check(not left, "in", INSTANCES, "there is", left)


STEPS = (images, flavors, boot, two_fit, only_on_the_device, stop_and_start, reboots, rebuild,
         faults, cannot, ends_by_itself, restarts, delete_all)


# The cloud

def suppressed(function):
    """What @function returns, or None: services that start do not answer yet."""
    with contextlib.suppress(Failure):
        return function()
    return None


def wait_compute():
    wait(lambda: [row for row in suppressed(lambda: ask(
        "admin", "compute", "service", "list", "--service", "nova-compute")) or []
                  if row["State"] == "up"], "nova-compute")


def wait_for_cloud():
    shell("systemctl", "start", "rabbitmq-server")
    shell("rabbitmqctl", "add_user", "openstack", "secret")
    shell("rabbitmqctl", "set_permissions", "openstack", ".*", ".*", ".*")
    shell("systemctl", "start", "keystone", "glance-api", "placement-api", "nova-api",
          "nova-conductor", "nova-scheduler", "check-nova-neutron")
    shell("systemctl", "restart", "nova-compute")
    wait_compute()
    shell("runuser", "-u", "nova", "--", "nova-manage", "cell_v2", "discover_hosts")
    wait(lambda: "CUSTOM_NITRO_ENCLAVE_SLOT" in (suppressed(placement) or {}), "the inventory")
    hypervisors = ask("admin", "hypervisor", "list")
    check([row["Hypervisor Type"] for row in hypervisors] == ["nitro"], hypervisors)


def memory():
    """The resident MiB of all processes, shared pages counted where they are."""
    pages = 0
    for name in glob.glob("/proc/[0-9]*/smaps_rollup"):
        with contextlib.suppress(OSError), open(name, encoding="ascii") as rollup:
            pages += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return pages >> 10


def main():
    start = time.monotonic()
    for step in (wait_for_cloud, *STEPS):
        before = time.monotonic()
        try:
            step()
        except Failure as failure:
            print(f"check-nova: {step.__name__}: failed: {failure}", flush=True)
            return 1
        print(f"check-nova: {step.__name__}: {time.monotonic() - before:.0f} s", flush=True)
    print(f"check-nova: passed after {time.monotonic() - start:.0f} s; "
          f"all processes have {memory()} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
