"""When does somebody show an expression most surely? Prints the three best moments of each expression.

python examples/telling_moments.py [FILM]
"""

import sys
from pathlib import Path

import mien

film = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).with_name("demo.mp4"))

best: dict[str, list[tuple[float, float, int]]] = {}
for row in mien.stream(film):  # rows as they become final: any length of film, a few seconds of memory
    if row.track_id is None or row.face_probs is None or "interpolated" in row.flags:
        continue
    for name, probability in zip(mien.EXPRESSIONS, row.face_probs.tolist(), strict=True):
        moments = best.setdefault(name, [])
        if all(abs(row.time - time) > 1.0 for _, time, _ in moments):
            moments.append((probability, row.time, row.track_id))
        best[name] = sorted(moments, reverse=True)[:3]

for name, moments in best.items():
    told = [f"{time:.1f} s person {who} ({share:.2f})" for share, time, who in moments if share >= 0.1]
    print(f"{name:10} {', '.join(told) or '—'}")
