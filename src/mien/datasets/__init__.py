"""Corpora: a folder on disk becomes labelled stills or utterances, by expression name. Needs the extra [train]."""
