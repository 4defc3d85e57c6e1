"""Labelling of archives: files that have an end, in any of five forms, compressed or not.

names        what a file's name says: form and compression
splits       where a big file is cut, so that several processes can share it
plan, work   what is to be done, and the directory that keeps what is done
reading      bytes of a split, decompressed, as UTF-8
csvscan      where records and fields are; csvrows, lines, parquet: one form each
units        one read of a split: what to classify, and how to write it labelled
task         one split in one process; survey: which templates are new
run          the driver
"""
