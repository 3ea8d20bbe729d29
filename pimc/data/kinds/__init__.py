"""Kinds of data beside arrays and pictures: text, sequences, files of one sample, boxes, sound."""
