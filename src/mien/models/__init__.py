"""The networks: attention, face and speech encoders, fusion, the whole network, checkpoints. Needs torch.

Sections (§) and equations (Eq.) named in this package are those of Yu et al. (2025), "Design of an Expression
Recognition Solution Employing the Global Channel-Spatial Attention Mechanism".
"""
