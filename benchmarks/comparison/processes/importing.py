"""What importing pointsman takes where what it is made of is imported already.

python importing.py STATEMENT
"""

import asyncio  # noqa: F401 - what the others need is here before the clock starts
import json
import sys
import time

wall, cpu = time.perf_counter(), time.process_time()
exec(sys.argv[1])
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
