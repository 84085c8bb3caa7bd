"""A trial image's program that honours the contract only as far as a test wants: what it does follows from the seed.

It stands for anybody's container. Standard library only.
"""

import json
import os
import signal
import sys
import time

work = json.loads(os.environ["ARCHSEARCH_WORK"])
kind, index = work["spec"]["work"], work["spec"]["index"]
behaviour = work["search"].rpartition("/")[2]


def say(text: str) -> None:
    with open("/dev/termination-log", "w") as file:
        file.write(text)


if kind == "Preflight":
    say('{"version": 1, "metrics": {"architectures": 1}}')
elif behaviour == "garbage":
    say("\x07<html>not JSON" * 50)
elif behaviour == "foreign":
    say('{"version": 1, "metrics": {"accuracy": 1.0}, "architecture": {"evil": "rm -rf"}}')
elif behaviour == "hungry":
    hoard = []
    while True:
        hoard.append(bytearray(16 << 20))
        time.sleep(0.01)
elif behaviour == "stubborn":
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    while not told:
        time.sleep(0.1)
    time.sleep(10)
    sys.exit(143)
elif behaviour == "crash":
    print("loading")
    print("boom: the disk is on fire")
    sys.exit(7)
