"""The chains of `pipelines.rs` in Kedro: its sequential runner, values in memory."""

import logging
import statistics
import sys
import time

logging.disable(logging.CRITICAL)

import kedro
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner


def step(value):
    return value + 1


for length in map(int, sys.argv[1:]):
    chain = pipeline([node(step, f"v{n}", f"v{n + 1}", name=f"n{n}") for n in range(length)])
    wall, cpu = [], []
    for _ in range(5):
        catalog = DataCatalog({"v0": MemoryDataset(0)})
        begun, used = time.perf_counter(), time.process_time()
        SequentialRunner().run(chain, catalog)
        wall.append((time.perf_counter() - begun) / length * 1e6)
        cpu.append((time.process_time() - used) / length * 1e6)
    what = f"Kedro {kedro.__version__}: a chain of {length} nodes"
    print(f"{what:<44} {statistics.median(wall):>9.1f} µs a node {statistics.median(cpu):>9.1f} µs CPU")
