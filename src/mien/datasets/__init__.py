"""Corpora: a folder becomes labelled stills or utterances, by expression name."""
