#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Python programs over several MPI libraries in turn, and the ratio of ours to the best other.

    compare.py --impl strait=PREFIX/bin/mpiexec,python3 \\
               --impl mpich=VENV/bin/mpiexec,VENV/bin/python \\
               --script course/point_point2.py -n 128 --repeats 5

An implementation is NAME=MPIEXEC,PYTHON[,WORD...]; the first one is ours. The words go to its
mpiexec where there are more ranks than processors (Open MPI wants --oversubscribe). Measured are
the one-way time of a pickled dict between two ranks (pickled.py beside this file; ranks are bound
where the launcher does that by itself) and, with --script, the wall time of `mpiexec -n N python
SCRIPT`. One run of each implementation per repeat, in turn. Prints one JSON object with medians
and all values.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
AS_ROOT = {
    f"{prefix}_ALLOW_RUN_AS_ROOT{suffix}": "1"
    for prefix in ("OMPI", "PRTE")
    for suffix in ("", "_CONFIRM")
}


def run(command: list[str], limit: float) -> tuple[float, str]:
    """Wall seconds and standard output of a command; SystemExit if it fails."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env={**os.environ, **AS_ROOT}
        )
    except subprocess.TimeoutExpired:
        raise SystemExit(f"compare.py: not over after {limit} s: {' '.join(command)}") from None
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise SystemExit(
            f"compare.py: exit code {done.returncode}: {' '.join(command)}\n{done.stderr[-2000:]}"
        )
    return seconds, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--impl", action="append", required=True, metavar="NAME=MPIEXEC,PYTHON")
    parser.add_argument("--script", action="append", default=[], help="a program to time")
    parser.add_argument("-n", type=int, default=128, help="ranks of --script (default 128)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=120, help="seconds of one run")
    options = parser.parse_args()
    contenders = {}
    for spec in options.impl:
        name, _, rest = spec.partition("=")
        mpiexec, python, *words = rest.split(",")
        contenders[name] = (mpiexec, python, words)
    values: dict[str, dict[str, list[float]]] = {}
    for repeat in range(options.repeats):
        for name, (mpiexec, python, words) in contenders.items():
            print(f"repeat {repeat + 1} of {options.repeats}: {name}", file=sys.stderr)
            command = [mpiexec, "-n", "2", python, str(HERE / "pickled.py")]
            text = run(command, options.limit)[1]
            values.setdefault("pickled dict, us", {}).setdefault(name, []).append(
                json.loads(text.splitlines()[-1])["us"]
            )
            for script in options.script:
                more = words if options.n > (os.cpu_count() or 1) else []
                command = [mpiexec, *more, "-n", str(options.n), python, script]
                seconds = run(command, options.limit)[0]
                what = f"{pathlib.Path(script).name}, {options.n} ranks, s"
                values.setdefault(what, {}).setdefault(name, []).append(seconds)
    report = {}
    ours = next(iter(contenders))
    for what, of in values.items():
        medians = {name: statistics.median(all_of) for name, all_of in of.items()}
        others = [value for name, value in medians.items() if name != ours]
        report[what] = {"median": medians, "values": of}
        if others:
            report[what]["ratio"] = round(medians[ours] / min(others), 3)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
