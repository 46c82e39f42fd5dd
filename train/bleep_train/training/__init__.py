"""The loop and all it is made of: batches, augmentation, gradient cache, ranks, checkpoints, validation; the
student's lesson.

Runs and the methods of a study call it.
"""
