"""What a method may see of a fold, and every method by name: BLEEP, ST-Net, HisToGene, ridge and other linear
methods, nearest neighbours, mean.

Studies and ablations call them fold by fold.
"""
