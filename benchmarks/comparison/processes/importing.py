"""What importing pointsman takes where what it is made of is imported already.

python importing.py STATEMENT
"""

# ruff: noqa: F401 - what is imported here is there before the clock starts
import asyncio
import json
import sys
import time

import attrs
import cattrs
import pluggy

wall, cpu = time.perf_counter(), time.process_time()
exec(sys.argv[1])
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
