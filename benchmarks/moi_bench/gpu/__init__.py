"""The day of a GPU: one command that checks and measures, in order of worth, what needs one.

plan         the table of steps; step: what a line of it says
jobs         the table here: words filled in, and what is missing
environment  what a step's process finds: packages, entry points, settings of hosts
process      one step, ended with all it started
figures      what its results say in a line
summary      the table of all steps
day          the steps in turn
"""
