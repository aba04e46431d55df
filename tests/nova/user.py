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
import hashlib
import json
import os
import shutil
import signal
import socket
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
HOST = socket.gethostname()
# tests/nova/other-host
OTHER = "other"
URIS = {HOST: "nitro:///system",
        OTHER: f"nitro+unix:///system?socket=/srv/{OTHER}/run/libvirt/virtnitrod-sock"}
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


def client(user, *words, program="openstack"):
    """Runs the command "openstack" as @user, or another; returns what it prints."""
    environment = dict(
        os.environ, OS_USERNAME=user, OS_PASSWORD="secret",
        OS_PROJECT_NAME="demo" if user == "alice" else user, OS_USER_DOMAIN_NAME="Default",
        OS_PROJECT_DOMAIN_NAME="Default", OS_IDENTITY_API_VERSION="3",
        OS_AUTH_URL="http://127.0.0.1:5000/v3", OS_PLACEMENT_API_VERSION="1.29",
        OS_COMPUTE_API_VERSION="2.90")
    done = subprocess.run([program, *words], env=environment, capture_output=True, text=True,
                          check=False)
    check(done.returncode == 0, program, *words, ":", done.stdout, done.stderr)
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


def virsh(*words, host=HOST):
    return shell("virsh", "-c", URIS[host], *words)


def domain_id(server, host=HOST):
    return int(virsh("domid", server["id"], host=host))


def placement(host=HOST):
    """What the compute node has, and what of it is used: {class: (total, used)}."""
    node = ask("admin", "resource", "provider", "list", "--name", host)
    check(len(node) <= 1, "resource providers", node)
    if not node:
        return {}
    rows = ask("admin", "resource", "provider", "inventory", "list", node[0]["uuid"])
    return {row["resource_class"]: (row["total"], row["used"]) for row in rows}


def check_placement(count, host=HOST):
    """As much is used as @count enclaves need, and there is what the machine has."""
    found = placement(host)
    totals = {"VCPU": os.sysconf("SC_NPROCESSORS_ONLN"), "CUSTOM_NITRO_ENCLAVE_SLOT": SLOTS}
    for name, one in USED.items():
        check(found[name][1] == one * count, "placement has", found, "for", count, "enclaves")
    for name, total in totals.items():
        check(found[name][0] == total, "placement has", found, "and the machine", totals)


def wait_gone(server, host=HOST):
    """The host has nothing more of @server."""
    directory = f"{INSTANCES}/{server['id']}"
    if host != HOST:
        directory = f"/srv/{host}{directory}"
    wait(lambda: server["id"] not in virsh("list", "--all", "--uuid", host=host).split(),
         "the domain's end")
    wait(lambda: not os.path.exists(directory), "the directory's end")


def check_nothing_left(server, host=HOST):
    """Nothing of @server is on the machine, or allocated."""
    wait_gone(server, host)
    used = ask("admin", "resource", "provider", "allocation", "show", server["id"])
    check(used == [], server["name"], "still has", used)


def check_empty(host, directory):
    check(virsh("list", "--all", "--name", host=host) == "", "domains are left on", host)
    left = set(os.listdir(directory)) - {"_base", "locks", "compute_nodes"}
    check(not left, "in", directory, "there is", left)


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
    refused("f1", "PCR0", "abababab", "... is expected", image="measured")
    refused("f2", "neither an EIF file nor a Linux kernel", image="nothing")
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


def shelve():
    """its image is kept in Glance, and on the host nothing"""
    before = show("e1")
    alice("server", "shelve", "--wait", "e1")
    wait_status("e1", "SHELVED_OFFLOADED")
    check_nothing_left(before)
    check_placement(0)
    kept = ask("alice", "image", "show", "e1-shelved")
    with open(HELLO, "rb") as image:
        check(kept["checksum"] == hashlib.file_digest(image, "md5").hexdigest(), kept)
    alice("server", "unshelve", "--wait", "e1")
    server = wait_status("e1", "ACTIVE")
    check(server["image"] == before["image"], server["image"], "was", before["image"])
    wait(lambda: BANNER in console("e1"), "the console's output")
    wait(lambda: not any(row["Name"] == "e1-shelved" for row in ask("alice", "image", "list")),
         "the end of the shelved image")
    check_placement(1)


def host_boot():
    """what ran runs again, and what was stopped does not: resume_guests_state_on_host_boot"""
    create("e2")
    alice("server", "stop", "e2")
    stopped = wait_status("e2", "SHUTOFF")
    server = show("e1")
    shell("systemctl", "stop", "nova-compute", "virtnitrod.socket", "virtnitrod-ro.socket",
          "virtnitrod-admin.socket", "virtnitrod.service")
    shell("pkill", "--signal", "KILL", "qemu-system|libvirt_nitro")
    wait(lambda: subprocess.run(["pgrep", "qemu-system|libvirt_nitro"], check=False,
                                capture_output=True).returncode == 1, "the end of all processes")
    shutil.rmtree("/run/libvirt/nitro")
    # which brings the daemon's socket with it
    shell("systemctl", "start", "nova-compute")
    wait(lambda: virsh("domstate", server["id"]) == "running", "the enclave")
    wait_compute(HOST)
    wait_status("e1", "ACTIVE")
    check(show("e2")["status"] == "SHUTOFF", show("e2"))
    check(virsh("domstate", stopped["id"]) == "shut off", "e2 has been started")
    check_placement(2)


def start_other_host():
    shell("systemd-run", "--quiet", "--unit=other-host", "/check-nova/other-host", OTHER)
    wait_compute(OTHER)
    discover_hosts(OTHER)


def evacuate():
    """to a host that has the image from Glance; the old one, when it is back, ends its own"""
    stays = domain_id(show("e1"))
    alice("server", "start", "e2")
    server = wait_status("e2", "ACTIVE")
    # nobody reaches the host, and the enclaves run on
    shell("systemctl", "stop", "nova-compute")
    client("admin", "compute", "service", "set", "--down", HOST, "nova-compute")
    # "openstack server evacuate" of Debian 12 fails when it prints what it has done
    client("admin", "evacuate", server["id"], OTHER, program="nova")

    def evacuated():
        row = ask("admin", "server", "show", server["id"])
        check(row["status"] != "ERROR", row.get("fault"))
        return row["OS-EXT-SRV-ATTR:host"] == OTHER and row["status"] == "ACTIVE"

    wait(evacuated, "the evacuation of e2")
    moved = domain_id(wait_status("e2", "ACTIVE"), OTHER)
    wait(lambda: BANNER in console("e2"), "the console's output")
    check(virsh("domstate", server["id"]) == "running", "e2 on the host that nobody reaches")
    check_placement(1, OTHER)

    shell("systemctl", "start", "nova-compute")
    wait_gone(server)
    wait(lambda: placement()["VCPU"][1] == 1, "the end of what e2 had")
    # refused before that
    client("admin", "compute", "service", "set", "--up", HOST, "nova-compute")
    check_placement(1)
    check(domain_id(show("e1")) == stays, "e1, which has not been evacuated")
    check(domain_id(wait_status("e2", "ACTIVE"), OTHER) == moved, "e2 runs on")
    delete("e2")
    check_nothing_left(server, OTHER)
    check_placement(0, OTHER)
    check_empty(OTHER, f"/srv/{OTHER}{INSTANCES}")


def stop_other_host():
    shell("systemctl", "stop", "other-host")
    service, = ask("admin", "compute", "service", "list", "--host", OTHER)
    client("admin", "compute", "service", "delete", service["ID"])
    wait(lambda: not placement(OTHER), "the end of the other host's inventory")


def delete_all():
    server = show("e1")
    delete("e1")
    check_nothing_left(server)
    check_placement(0)
    check_empty(HOST, INSTANCES)


STEPS = (images, flavors, boot, shelve, host_boot, start_other_host, evacuate, stop_other_host,
         two_fit, only_on_the_device, stop_and_start, reboots, rebuild, faults, cannot,
         ends_by_itself, restarts, delete_all)


# The cloud

def suppressed(function):
    """What @function returns, or None: services that start do not answer yet."""
    with contextlib.suppress(Failure):
        return function()
    return None


def wait_compute(host=HOST):
    wait(lambda: [row for row in suppressed(lambda: ask(
        "admin", "compute", "service", "list", "--service", "nova-compute", "--host", host)) or []
                  if row["State"] == "up"], f"nova-compute of {host}")


def discover_hosts(host=HOST):
    shell("runuser", "-u", "nova", "--", "nova-manage", "cell_v2", "discover_hosts")
    wait(lambda: "CUSTOM_NITRO_ENCLAVE_SLOT" in (suppressed(lambda: placement(host)) or {}),
         f"the inventory of {host}")


def wait_for_cloud():
    shell("systemctl", "start", "rabbitmq-server")
    shell("rabbitmqctl", "add_user", "openstack", "secret")
    shell("rabbitmqctl", "set_permissions", "openstack", ".*", ".*", ".*")
    shell("systemctl", "start", "keystone", "glance-api", "placement-api", "nova-api",
          "nova-conductor", "nova-scheduler", "check-nova-neutron")
    shell("systemctl", "restart", "nova-compute")
    wait_compute()
    discover_hosts()
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
