"""How far does mien agree with people who labelled the same film? Kappa, for several widths of the mean.

    python examples/agree_with_people.py [FILM LABELS]

LABELS is a CSV of start, end and label in seconds, or a file of ELAN, Praat or BORIS. The labels of the
bundled film say what each stretch was drawn as.
"""

import sys
import tempfile
from pathlib import Path

import mien

DRAWN = "start,end,label\n0.0,2.2,Happiness\n2.2,4.4,Neutral\n4.4,6.3,Surprise\n8.6,10.0,Sadness\n"

with tempfile.TemporaryDirectory() as folder:
    if len(sys.argv) > 2:
        film, labels = sys.argv[1:3]
    else:
        film, labels = str(Path(__file__).with_name("demo.mp4")), f"{folder}/labels.csv"
        Path(labels).write_text(DRAWN, encoding="utf-8")
    for smooth in (0.0, 0.5, 1.5):
        timeline = mien.analyze(film, mien.ReadingSettings(voice=False), mien.TimelineSettings(smooth=smooth))
        found = timeline.person(1).compare(Path(labels))
        print(f"means over {smooth} s: {found}")
