"""Be a microphone: arecord -t raw -f S16_LE -r 16000 | python microphone.py ADDRESS [TOKEN-FILE]"""

import json
import sys
from pathlib import Path

from websockets.sync.client import connect

FRAME_BYTES = 3200  # 100 ms of 16 kHz, 16 bit, one channel
token = {"Authorization": f"Bearer {Path(sys.argv[2]).read_text().strip()}"} if len(sys.argv) > 2 else {}

with connect(sys.argv[1], additional_headers=token) as daemon:
    while frame := sys.stdin.buffer.read(FRAME_BYTES):
        daemon.send(frame)
        try:
            while True:  # what has been said since
                said = json.loads(daemon.recv(timeout=0))
                if said["type"] == "score":
                    print(said["t_start"], said["t_end"], said["p_sad"], flush=True)
        except TimeoutError:
            pass
