"""The networks: attention, face and speech encoders, fusion, the whole network, checkpoints. Needs torch."""
