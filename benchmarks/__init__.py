"""
Benchmarks: what a node costs, beside what an operator would script instead.

C{python -m benchmarks} runs them between real processes on this machine. Each
job is a module in L{benchmarks.jobs}; trees, processes, measuring and output are
shared.
"""
