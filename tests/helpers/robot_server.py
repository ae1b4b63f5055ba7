"""A "robot" in another process: a point mass on a line behind a TCP socket, one JSON line per message.

`python robot_server.py PORT_FILE [STEPS]` writes its port to the file, serves one client after another, never two at
once, and dies in the middle of a step after STEPS of them. What it was asked is counted: `{"do": "count"}`.
"""

import json
import os
import socket
import sys
from pathlib import Path


def serve(port_file: Path, lifetime: float) -> None:
    counts = {"reset": 0, "step": 0}
    with socket.create_server(("127.0.0.1", 0)) as server:
        temporary = port_file.with_suffix(".new")
        temporary.write_text(str(server.getsockname()[1]))
        os.replace(temporary, port_file)
        while True:
            client, _ = server.accept()
            with client, client.makefile("rw") as stream:
                for line in stream:
                    order = json.loads(line)
                    if order["do"] == "reset":
                        x, v = order["start"], 0.0
                    elif order["do"] == "step":
                        v += 0.1 * order["force"]
                        x += 0.1 * v
                    if order["do"] in counts:
                        counts[order["do"]] += 1
                    if counts["step"] > lifetime:
                        os._exit(1)
                    answer = counts if order["do"] == "count" else {"x": x, "v": v}
                    stream.write(json.dumps(answer) + "\n")
                    stream.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else float("inf"))
