#!/usr/bin/python3
#
# neutron.py: what nova needs of neutron where no server has a network
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Answers each question of nova's on 127.0.0.1:9696 with an empty list: nova asks for the ports, the
networks and the security groups of a server even if it was made with --nic none. Whatever would
change something is refused.
"""

import http.server
import json

VERSIONS = {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [
    {"rel": "self", "href": "http://127.0.0.1:9696/v2.0/"}]}]}


class Handler(http.server.BaseHTTPRequestHandler):

    def do_GET(self):
        path = self.path.split("?")[0].strip("/").removesuffix(".json")
        collection = path.split("/")[-1].replace("-", "_")
        data = json.dumps({collection: []} if path else VERSIONS).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", 9696), Handler).serve_forever()
