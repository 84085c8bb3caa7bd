"""Honours the contract of a trial's process without learning anything: `fake_worker.py CONFIG` ends as CONFIG says.

CONFIG: JSON with `room`, a folder for the notes of all workers; `seconds`, how long a trial takes; `endings`, by trial
(`Train 3`): crash, infeasible, user, garbage, silent, killed, interrupted (the first time only), stubborn, forever;
`order`: indices of Train in the order in which they are to end; `out`: where the records are that this is seen from;
`epochs`: values of the curves that trials print at their start; `curves`: whether messages hold one.
"""

import fcntl
import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from zlib import crc32

config = json.loads(Path(sys.argv[1]).read_text())
work = json.loads(os.environ["ARCHSEARCH_WORK"])
spec, name = work["spec"], work["trial"]
room, label = Path(config["room"]), f"{spec['work']} {spec['index']}"
ending = config.get("endings", {}).get(label, "good")


def note(text):
    with (room / "notes").open("a") as stream:
        stream.write(f"{label} {text}\n")


def terminated(number, frame):
    note("terminated")
    if ending != "stubborn":
        os._exit(143)


def leave(code, message=None):
    if message is not None:
        path = Path(os.environ["ARCHSEARCH_TERMINATION_PATH"])
        temporary = path.with_suffix(".fresh")
        temporary.write_text(message if isinstance(message, str) else json.dumps(message))
        temporary.replace(path)
    note(f"ended {code}")
    sys.exit(code)


def artifact(file, kind):
    path = Path(work["paths"]["artifacts"]) / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{kind} of {name}".encode())
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"uri": f"{work['paths']['artifactsUri']}/{name}/{file}", "sha256": checksum, "format": kind}


def finished(index):
    for path in Path(config["out"], "trials").glob("*.json"):
        if re.search(rf"-[0-9a-f]{{5}}-{index}\.json$", path.name):
            return json.loads(path.read_text())["status"].get("sequence") is not None
    return False


def result():
    accuracy = (crc32(json.dumps(spec.get("architecture"), sort_keys=True).encode()) % 10_000) / 10_000
    message = {"version": 1, "metrics": {"accuracy": accuracy}}
    if spec["work"] == "Train":
        message["architecture"] = spec["architecture"]
        if config.get("curves"):
            message["curve"] = [{"epoch": epoch, "value": accuracy} for epoch in (1, 2)]
    elif spec["work"] == "Retrain":
        message["metrics"]["testAccuracy"] = accuracy
        if "artifacts" in work["paths"]:
            message["artifacts"] = [artifact("weights.safetensors", "safetensors")]
    elif spec["work"] == "Profile":
        message["profile"] = {"profile": spec["profile"], "device": "fake", "runtime": "Torch", "batchSize": 1,
                              "latencyMs": {"p50": 1.0, "p95": 2.0, "p99": 3.0}, "throughput": 10.0,
                              "peakMemoryMiB": 5.0, "parameters": 1000, "flops": 2000}  # fmt: skip
    elif spec["work"] == "Export":
        message["metrics"]["exportDifference"] = 1e-6
        message["artifacts"] = [artifact("model.onnx", "onnx")]
    return message


signal.signal(signal.SIGTERM, terminated)
lock = (room / f"{label}.lock").open("w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("DOUBLED")
note(f"started device={os.environ.get('CUDA_VISIBLE_DEVICES')} threads={os.environ['OMP_NUM_THREADS']}")
print("a line of the log", flush=True)
for epoch, value in enumerate(config.get("epochs", {}).get(label, ()), start=1):
    print(f"epoch {epoch}/9: training loss 1.0000, selection accuracy {value:.4f}, loss 1.0000, 0.1 s", flush=True)
if ending in ("forever", "stubborn"):
    while True:
        time.sleep(0.05)
order = config.get("order", [])
if spec["work"] == "Train" and spec["index"] in order:
    before = order[: order.index(spec["index"])]
    while before and not finished(before[-1]):
        time.sleep(0.02)
elif spec["work"] == "Train":
    time.sleep(config.get("seconds", 0.0) * (1 + spec["index"] * 7 % 5) / 2)
if ending == "interrupted" and not (marker := room / f"{label}.interrupted").exists():
    marker.touch()
    leave(143)
if ending == "crash":
    print("boom", flush=True)
    leave(1)
if ending == "infeasible":
    leave(42, {"version": 1, "error": "too large", "metrics": {"parameters": 9.0}})
if ending == "user":
    leave(3, {"version": 1, "error": "the data are of another planet"})
if ending == "garbage":
    leave(0, '{"version": 1, "metrics": {"accu')
if ending == "silent":
    leave(0)
if ending == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
leave(0, result())
