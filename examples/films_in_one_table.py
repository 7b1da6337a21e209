"""Several films, one table: how much of the time each person shows each expression.

python examples/films_in_one_table.py [FILM…] > table.csv
"""

import csv
import sys
from pathlib import Path

import mien

films = sys.argv[1:] or [str(Path(__file__).with_name("demo.mp4"))]

out = csv.writer(sys.stdout)
out.writerow(["film", "who", "seconds", "changes", *mien.EXPRESSIONS])
for film in films:
    try:
        timeline = mien.analyze(film)
    except mien.MienError as error:  # one bad film does not stop the others
        print(error, file=sys.stderr)
        continue
    for line in timeline.summary():
        shares = [line[f"share_{name}"] for name in mien.EXPRESSIONS]
        out.writerow([Path(film).name, line["who"], line["seconds"], line["transitions"], *shares])
