"""Where to compute: jobs of any size in one process, in several, or on a cluster, with the same bytes as the result.

source    rows of files, streamed                       plan      what is to be done, written once
folder    files that appear whole, once, or not at all  shard     the outputs of some rows as files
worker    the loop that works off a folder              engines   who runs workers: here, processes, ray
drive     plan, watch over workers, merge, manifest     opened    a finished (or unfinished) run to read
verify    is it what it says                            alike     are two values the same but for rounding
"""
